import { OutgoingMessage, ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { setImmediate } from '../clock.ts'

/*
 * The only file that reads private parts of Fastify and Node. `missingInternals` checks them when the app becomes
 * ready. If a part is missing, streams use the public functions alone: `reply.send` and `response.write`.
 */

/** The symbols under which Fastify keeps state on a reply or a server, by their descriptions. */
const SYMBOLS = {
  isError: 'fastify.reply.isError',
  context: 'fastify.context',
  trailers: 'fastify.reply.trailers',
  logController: 'fastify.logController'
}
/** The symbols of the constructors, which a server has for its replies and requests. */
const CONSTRUCTORS = { reply: 'fastify.Reply', request: 'fastify.Request' }

// A process has one copy of Fastify, rarely more: the symbol that was found last is tried first.
const found = new Map<string, symbol>()

function symbolOf (owner: object, description: string): symbol | undefined {
  const known = found.get(description)
  if (known !== undefined && known in owner) return known
  for (let level = owner; level !== null; level = Object.getPrototypeOf(level) as object) {
    const symbol = Object.getOwnPropertySymbols(level).find(symbol => symbol.description === description)
    if (symbol === undefined) continue
    found.set(description, symbol)
    return symbol
  }
  return undefined
}

const fieldsOf = (owner: object): Record<symbol, unknown> => owner as Record<symbol, unknown>

function valueOf (owner: object, description: string): unknown {
  const symbol = symbolOf(owner, description)
  return symbol === undefined ? undefined : fieldsOf(owner)[symbol]
}

/**
 * Clears the mark that Fastify sets on the reply of a handler that threw any value. It would turn the body of the
 * stream into the error. Returns whether the mark was set; undefined if this Fastify keeps no such mark.
 */
export function clearErrorMark (reply: FastifyReply): boolean | undefined {
  const symbol = symbolOf(reply, SYMBOLS.isError)
  if (symbol === undefined) return undefined
  const marked = fieldsOf(reply)[symbol] === true
  if (marked) fieldsOf(reply)[symbol] = false
  return marked
}

/**
 * Whether `reply.send(stream)` would only write the head and pipe: no onSend hook gets the body, no trailer follows it.
 */
export function canWriteHeadDirectly (reply: FastifyReply): boolean {
  const context = valueOf(reply, SYMBOLS.context) as { onSend?: unknown } | undefined
  return context?.onSend === null && valueOf(reply, SYMBOLS.trailers) === null && !reply.sent && !reply.raw.headersSent
}

/** Whether Fastify sends trailers behind the body. False if this Fastify does not show them. */
export function hasTrailers (reply: FastifyReply): boolean {
  return (valueOf(reply, SYMBOLS.trailers) ?? null) !== null
}

/** Whether Fastify logs the end of this request, by its `logController` or by `disableRequestLogging`. */
export function logsRequest ({ server, request }: FastifyReply): boolean {
  const controller = valueOf(server, SYMBOLS.logController) as { isLogDisabled: (request: FastifyRequest) => boolean }
    | undefined
  if (controller !== undefined) return !controller.isLogDisabled(request)
  // A Fastify without `logController`.
  const { disableRequestLogging: disabled } = server.initialConfig
  return typeof disabled === 'function' ? !disabled(request) : disabled !== true
}

type SignalGetter = (this: FastifyRequest) => AbortSignal

/** Returns Fastify's getter of `request.signal`, behind the getter `own` that a decorator put in front of it. */
export function signalGetter (request: object, own: SignalGetter): SignalGetter | undefined {
  for (let level = request; level !== null; level = Object.getPrototypeOf(level) as object) {
    const getter = Object.getOwnPropertyDescriptor(level, 'signal')?.get as SignalGetter | undefined
    if (getter !== undefined && getter !== own) return getter
  }
  return undefined
}

/** Whether `response.write` is Node's for HTTP/1. */
export function hasNodeWrite (response: ServerResponse): boolean {
  return response.write === OutgoingMessage.prototype.write
}

/** Whether Node frames the body as chunks. */
export function isChunked (response: ServerResponse): boolean {
  return response.chunkedEncoding
}

/**
 * Writes chunks of a chunked body that are framed already: Node adds no frame. Returns the result of `response.write`.
 */
export function writeFramed (
  response: ServerResponse,
  chunk: string | Buffer,
  encoding: BufferEncoding = 'utf8'
): boolean {
  response.chunkedEncoding = false
  const room = response.write(chunk, encoding)
  response.chunkedEncoding = true
  return room
}

let lastHead = ''

/**
 * Replaces the text of a head that was sent by one string, which streams with the same head share. Node keeps it as a
 * tree of its parts, which is a tenth of the memory of an idle stream.
 */
export function compactHead (response: ServerResponse): void {
  const owner = response as { _header?: unknown }
  if (typeof owner._header !== 'string') return
  if (owner._header !== lastHead) lastHead = Buffer.from(owner._header, 'latin1').toString('latin1')
  owner._header = lastHead
}

/** Returns the number of bytes that the kernel has not accepted yet. */
export function unsentBytes (response: ServerResponse): number {
  if (response.req.httpVersionMajor !== 1) return response.writableLength
  // An injected response passes its bytes to the client at once. Its socket, which is beside that path, accepts them
  // later.
  if ((response as { isLightMyRequest?: boolean }).isLightMyRequest === true) return 0
  // A large write is one entry of writableLength until its last byte is sent. The handle's own count shows the progress
  // of a slow client inside it; Node's socket timeout reads it too. Without it, only whole writes count as progress.
  const handle = (response.socket as { _handle?: { writeQueueSize?: number } } | null)?._handle
  return response.writableLength + (handle?.writeQueueSize ?? 0)
}

/**
 * Resolves to the private parts that this Fastify and this Node do not have as expected. `ownSignal` is the decorator's
 * getter of `request.signal`.
 */
export async function missingInternals (app: FastifyInstance, ownSignal: SignalGetter): Promise<string[]> {
  const reply = madeBy(valueOf(app, CONSTRUCTORS.reply))
  const request = valueOf(app, CONSTRUCTORS.request) as { prototype?: object } | undefined
  const checks: Array<[name: string, works: boolean]> = [
    [SYMBOLS.isError, valueOf(reply, SYMBOLS.isError) === false],
    [SYMBOLS.trailers, valueOf(reply, SYMBOLS.trailers) === null],
    [SYMBOLS.context, symbolOf(reply, SYMBOLS.context) !== undefined],
    [SYMBOLS.logController, !hasLogController(app.version) || valueOf(app, SYMBOLS.logController) !== undefined],
    ['request.signal', signalGetter(request?.prototype ?? {}, ownSignal) !== undefined],
    ['response.chunkedEncoding', await writesFramed()]
  ]
  return checks.filter(([, works]) => !works).map(([name]) => name)
}

/** Returns a reply without a request, for its fields. */
function madeBy (constructor: unknown): object {
  return typeof constructor === 'function' ? Reflect.construct(constructor, [{}, {}, {}]) as object : {}
}

/** Whether this version of Fastify has log controllers: 5.10 and newer. */
function hasLogController (version: string): boolean {
  const [major, minor] = version.split('.').map(Number)
  return major !== 5 || minor! >= 10
}

/** Whether Node sends a framed chunk as it is, and ends the body after it. */
async function writesFramed (): Promise<boolean> {
  let sent = ''
  const socket = new Writable({
    write: (chunk, _encoding, done) => {
      sent += String(chunk)
      done()
    }
  })
  const response = new ServerResponse(
    { method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1, headers: {} } as IncomingMessage
  )
  response.assignSocket(socket as Socket)
  response.writeHead(200)
  writeFramed(response, '1\r\na\r\n')
  response.end()
  await new Promise(resolve => setImmediate(resolve))
  return sent.endsWith('\r\n\r\n1\r\na\r\n0\r\n\r\n')
}
