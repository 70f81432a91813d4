import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Channel } from '../channel/channel.ts'
import { FST_SSE_FORBIDDEN, FST_SSE_OPTION, describe } from '../errors.ts'
import type { HistoryLimits } from '../log/log.ts'
import type { Run } from '../runs/run.ts'
import { aFunction, validateOptions, type Rule } from '../validate-options.ts'
import { openObject } from './open-object.ts'
import {
  uiMessageErrorHandler, uiMessageEvents, uiMessageHeaders, uiMessageOptions, uiMessages, type UIMessageSource
} from './ui-messages.ts'

/** A message of a chat. The `UIMessage` of the AI SDK has this type. */
export interface ChatMessage {
  id: string
  role: 'system' | 'user' | 'assistant'
  parts: object[]
}

/** The body of a POST, as `DefaultChatTransport` sends it. `message`: the last one alone, in place of all messages. */
export interface ChatBody<M extends ChatMessage = ChatMessage> {
  id: string
  messages?: M[]
  message?: M
  trigger?: string
  messageId?: string
}

/** The argument of `produce`. */
export interface ChatContext<M extends ChatMessage = ChatMessage> {
  /** The messages of the body. Only their ids are checked. */
  messages: M[]
  body: ChatBody<M>
  key: string
  /** The id that the answer gets if its source names none. */
  messageId: string
  /** Aborts when the answer is stopped: not when its client disconnects. */
  signal: AbortSignal
  /** The request that started the answer. Its client may be gone. */
  request: FastifyRequest
}

export interface ChatOptions<M extends ChatMessage = ChatMessage> {
  /** Returns whether the request may read, answer and stop the chat. Called before any access to the event log. */
  authorize: (request: FastifyRequest, key: string) => boolean | Promise<boolean>
  /** Returns the chunks of an answer, or tokens of text. Called once over all nodes for each message. */
  produce: (context: ChatContext<M>) => UIMessageSource | Promise<UIMessageSource>
  /** Returns the key of the chat on all nodes. Default: the chat's id, from the body or the path. */
  key?: ((request: FastifyRequest) => string) | undefined
  /** The path of the POST. Default '/api/chat', as `DefaultChatTransport` has it. */
  url?: string | undefined
  /** Names the runs. Each chat of a server has its own. Default 'chat'. */
  name?: string | undefined
  /** The limits of an answer's history, as for runs. */
  history?: Partial<HistoryLimits> | undefined
  /** The time after which an answer is broken if its node has not renewed the lease. Default 15000. */
  leaseDuration?: number | undefined
}

type ChatRun = Run<typeof uiMessageEvents>

/** The answers of the chats, for code that is not a route. */
export interface Chat {
  /** Returns the last answer of a chat; undefined if there is none. */
  get: (key: string) => Promise<ChatRun | undefined>
  /** Stops the answer of a chat, on any node. Resolves to whether it was running. */
  stop: (key: string) => Promise<boolean>
}

const aName: Rule = { expected: 'a text', fits: value => typeof value === 'string' && value !== '' }
// Runs check their options themselves.
const ofRuns: Rule = { expected: 'an option of runs', fits: () => true }
const RULES: Record<keyof ChatOptions, Rule> = {
  authorize: aFunction,
  produce: aFunction,
  key: aFunction,
  url: aName,
  name: aName,
  history: ofRuns,
  leaseDuration: ofRuns
}

const message = openObject({ id: { type: 'string' } })
const body = {
  ...openObject<ChatBody>({
    id: { type: 'string' },
    messages: { type: 'array', items: message, minItems: 1 },
    message,
    trigger: { type: 'string' },
    messageId: { type: 'string' }
  }, ['id']),
  anyOf: [{ required: ['messages'] }, { required: ['message'] }]
}

// The stack of JSON.stringify ends at another depth in each version of Node.
const MAX_DEPTH = 500

/** Whether a value of JSON is nested deeper than MAX_DEPTH. */
function isTooDeep (value: unknown): boolean {
  let level = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return true
    level = level.flatMap(value => typeof value === 'object' && value !== null ? Object.values(value) : [])
  }
  return false
}

/** Checks a body by hand: the compiler of the app may know other schemas only. */
function validateBody (value: unknown): { error: Error } | true {
  const { id, messages, message } = Object(value) as Record<string, unknown>
  const list = messages ?? [message]
  if (typeof id !== 'string' || id === '') return { error: new Error('body must have an id') }
  const areMessages = Array.isArray(list) && list.length > 0 &&
    list.every(message => typeof (Object(message) as ChatMessage).id === 'string')
  if (!areMessages) return { error: new Error('body must have messages with an id') }
  return !isTooDeep(value) || { error: new Error('body is nested too deeply') }
}

// The pointers from a chat to its last answers: those of POSTs at the same time, then the last one. They should outlive
// the longest answer.
const POINTERS = 16
const POINTER_AGE = 3_600_000
const pointerEvents = { message: openObject<Pointer>({ run: { type: 'string' }, question: { type: 'string' } }) }
/** `messages`: the ids of the message that was answered, and of the answer. */
interface Pointer { run: string, question: string, messages: string[] }

const digest = (...values: unknown[]): string => createHash('sha256').update(JSON.stringify(values)).digest('base64url')
const isOver = ({ state }: ChatRun): boolean => state !== 'running'
const ABORT = { data: { type: 'abort' } } as const

/** Returns the id of the chat: of the path, or of the body. */
const idOf = ({ params, body }: FastifyRequest): string =>
  String((Object(params) as ChatBody).id ?? (Object(body) as ChatBody).id)

/** Returns the events in the history of a channel, the last one at the end. */
async function pointersIn (channel: Channel<typeof pointerEvents>): Promise<Pointer[]> {
  const { oldest, newest } = await channel.position()
  const pointers: Pointer[] = []
  if (oldest > newest) return pointers
  for await (const event of channel.subscribe({ signal: AbortSignal.timeout(10_000) })) {
    if (event.event === 'message' && pointers.push(event.data) > newest - oldest) break
  }
  return pointers
}

/**
 * Serves the chats of `useChat`: `POST /api/chat` answers the last message, `GET /api/chat/:id/stream` resumes an
 * answer that runs, or replies with 204, and `DELETE /api/chat/:id` stops it. Each answer is a run: it continues when
 * its client disconnects, and any node serves it. A repeated POST joins the answer; another one stops it.
 */
export function chat<M extends ChatMessage = ChatMessage> (app: FastifyInstance, options: ChatOptions<M>): Chat {
  const { authorize, produce, key: keyOf = idOf, url = '/api/chat', name = 'chat', history, leaseDuration } =
    validateOptions<ChatOptions<M>>(options, options, RULES)
  for (const [name, value] of Object.entries({ authorize, produce })) {
    if (value === undefined) throw new FST_SSE_OPTION(name, aFunction.expected, describe(value))
  }
  const runs = app.sse.runs(name, {
    events: uiMessageEvents,
    errorEvent: uiMessageOptions.errorEvent,
    history,
    leaseDuration
  })
  const pointers = app.sse.channelFamily(`${name}-current`, {
    events: pointerEvents,
    history: { maxEvents: POINTERS, maxAge: Math.max(POINTER_AGE, history?.maxAge ?? 0) },
    start: 'earliest',
    slowConsumer: 'skip'
  })

  async function permit (request: FastifyRequest): Promise<string> {
    const key = keyOf(request)
    if (!aName.fits(key)) throw new FST_SSE_OPTION('key', 'a function that returns a text', describe(key))
    if (await authorize(request, key) !== true) throw new FST_SSE_FORBIDDEN('the chat belongs to another user')
    return key
  }

  async function start (key: string, request: FastifyRequest): Promise<ChatRun> {
    const body = request.body as ChatBody<M>
    const messages = body.messages ?? [body.message!]
    const last = messages.at(-1)!
    // A message may change and keep its id: a user edits it, or a tool adds its result.
    const question = digest(body.trigger, body.messageId, last)
    const pointer = pointers.of(digest(key))
    for (;;) {
      const current = (await pointersIn(pointer)).at(-1)
      const before = current === undefined ? undefined : await runs.get(current.run)
      if (before !== undefined && current!.question === question) {
        if (!isOver(before) || (before.state === 'complete' && body.trigger !== 'regenerate-message')) return before
      }
      // Nodes that start the same answer at the same time choose the same id.
      const id = digest(key, question, current?.run)
      // A message of the assistant, to which a tool or the user has added, continues.
      const messageId = last.role === 'assistant' ? last.id : id
      const { run, started } = await runs.start(id, uiMessages(
        async ({ signal }) => await produce({ messages, body, key, messageId, signal, request }),
        { messageId }
      ))
      await pointer.publish({ data: { run: id, question, messages: [last.id, messageId] } })
      // Another message stops the earlier answers, also those that another POST has started meanwhile.
      const answers = (await pointersIn(pointer)).map(({ run }) => run)
      const earlier = new Set(answers.slice(0, answers.lastIndexOf(id)))
      earlier.delete(id)
      await Promise.all([...earlier].map(other => runs.stop(other, ABORT)))
      // An earlier POST may have started the run, and have lost the event log before it published the pointer.
      if (started || !isOver(run) || run.state === 'complete') return run
    }
  }

  // A client may invent the ids of chats.
  const currentOf = async (key: string): Promise<Pointer | undefined> => {
    const pointer = await pointers.get(digest(key))
    return pointer === undefined ? undefined : (await pointersIn(pointer)).at(-1)
  }
  const get = async (key: string): Promise<ChatRun | undefined> => {
    const current = await currentOf(key)
    return current === undefined ? undefined : await runs.get(current.run)
  }
  const stop = async (key: string): Promise<boolean> => {
    const run = await get(key)
    return run !== undefined && await runs.stop(run.id, ABORT)
  }

  const route = { errorHandler: uiMessageErrorHandler, schema: { sse: uiMessageEvents } }
  app.post(url, { ...route, schema: { ...route.schema, body }, validatorCompiler: () => validateBody },
    async (request, reply) =>
      reply.headers(uiMessageHeaders).sse(await start(await permit(request), request), uiMessageOptions))

  app.get<{ Querystring: { message?: unknown } }>(`${url}/:id/stream`, route, async (request, reply) => {
    const current = await currentOf(await permit(request))
    const run = current === undefined ? undefined : await runs.get(current.run)
    // A page may have an answer that is over under another id: only a page that tells its last message gets it again.
    const isWanted = run !== undefined && (!isOver(run) || request.lastEventId !== undefined ||
      current!.messages.includes(request.query.message as string))
    return isWanted ? reply.headers(uiMessageHeaders).sse(run, uiMessageOptions) : reply.code(204).send()
  })

  app.delete(`${url}/:id`, { errorHandler: uiMessageErrorHandler }, async (request, reply) => {
    await stop(await permit(request))
    return reply.code(204).send()
  })

  return { get, stop }
}
