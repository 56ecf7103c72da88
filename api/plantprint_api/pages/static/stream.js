// One event stream per page, and how old what it last said is.

export class Stream {
  // `onEvent(kind, body)` for every event; `onLink(up)` when the connection comes or goes.
  constructor(url, kinds, onEvent, onLink) {
    this.url = url;
    this.kinds = kinds;
    this.onEvent = onEvent;
    this.onLink = onLink;
    this.open();
    addEventListener("pagehide", () => this.source.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  open() {
    this.source = new EventSource(this.url);
    this.source.onopen = () => this.onLink(true);
    this.source.onerror = () => {
      this.onLink(false);
      // A refused stream (too many clients) is closed for good by the browser: ask again later.
      if (this.source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), 10000);
    };
    for (const kind of this.kinds) {
      this.source.addEventListener(kind, (event) => this.onEvent(kind, JSON.parse(event.data)));
    }
  }
}
