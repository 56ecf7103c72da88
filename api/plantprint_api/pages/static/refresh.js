// Parts of a page that no stream brings, fetched again as the server renders them.

// Puts the server's present version of the elements with these ids in place, every `everyMs`; selected text stays, and so does the focus.
// `onFresh` is told afterwards. Returns a function that does it at once.
export function keepFresh(url, ids, everyMs, onFresh = () => {}) {
  const refresh = () => take(url, ids, onFresh);
  setInterval(refresh, everyMs);
  return refresh;
}

async function take(url, ids, onFresh) {
  if (document.hidden) return;
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${answer.status} from ${url}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ids) put(document.getElementById(id), fresh.getElementById(id));
    onFresh();
  } catch (error) {
    console.info("the page was not refreshed", error); // the next turn tries again
  }
}

function put(old, fresh) {
  if (!old || !fresh || old.isEqualNode(fresh)) return;
  const selection = getSelection();
  if (selection.type === "Range" && old.contains(selection.anchorNode)) return;
  const link = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const taken = document.importNode(fresh, true);
  old.replaceWith(taken);
  if (link !== null) taken.querySelector(`a[href="${CSS.escape(link)}"]`)?.focus({ preventScroll: true });
}
