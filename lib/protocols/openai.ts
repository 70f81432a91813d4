import { problemDetails } from '../contract/problem.ts'
import { withTexts } from '../schema/texts.ts'
import type { EventSequence, PublishContext } from '../source/source.ts'
import type { StreamOptions } from '../stream/options.ts'
import { convert } from './convert.ts'
import { errorHandler, type ErrorContext, type ErrorHandler } from './error-response.ts'
import { openObject, type OpenObject } from './open-object.ts'

/** A chunk of a chat completion. The chunks of the official SDK have this type. Other fields are sent unchanged. */
export interface ChatCompletionChunk {
  id: string
  object: 'chat.completion.chunk'
  /** The time of the answer, in seconds since 1970. */
  created: number
  model: string
  choices: ChatCompletionChoice[]
  usage?: object | null | undefined
  service_tier?: string | null | undefined
  system_fingerprint?: string | undefined
  moderation?: object | null | undefined
}

/** A choice of a chunk: the part of the answer that is new. */
export interface ChatCompletionChoice {
  index: number
  delta: {
    role?: 'developer' | 'system' | 'user' | 'assistant' | 'tool' | undefined
    content?: string | null | undefined
    refusal?: string | null | undefined
    tool_calls?: Array<{
      index: number
      id?: string | undefined
      type?: 'function' | undefined
      function?: { name?: string | undefined, arguments?: string | undefined } | undefined
    }> | undefined
    function_call?: { name?: string | undefined, arguments?: string | undefined } | undefined
  }
  logprobs?: object | null | undefined
  finish_reason: 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'function_call' | null
}

/** The error in the body of a response, and in the last event of a stream that failed. */
export interface OpenAIError {
  message: string
  type: string
  param: string | null
  code: string | null
}

const string = { type: 'string' }
const integer = { type: 'integer' }
const choice = openObject({ index: integer, delta: openObject({}) })

// Keywords beside the properties are checked several times faster than a union of two objects.
const chunk = {
  ...openObject<ChatCompletionChunk | { error: OpenAIError }>({
    id: string,
    object: string,
    created: integer,
    model: string,
    choices: { type: 'array', items: choice },
    error: openObject({ message: string, type: string })
  }, []),
  anyOf: [{ required: ['choices'] }, { required: ['error'] }]
}

/** The events of a streamed chat completion: chunks, an error, and `[DONE]` at the end. For `schema.sse`. */
export const chatCompletionEvents = { message: withTexts(chunk, '[DONE]') }

const byStatus: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_error'
}

function errorOf (error: Error, context?: ErrorContext): OpenAIError {
  const { status, title, detail, instance } = problemDetails(error, context?.id)
  const { code } = error as { code?: unknown }
  const isExpected = detail !== undefined
  return {
    message: detail ?? (instance === undefined ? title : `${title} (request ${instance})`),
    type: isExpected ? byStatus[status] ?? 'invalid_request_error' : 'server_error',
    param: null,
    code: isExpected && typeof code === 'string' ? code : null
  }
}

/**
 * Replies to a request that failed before its stream, in the form of the OpenAI API. An error handler of a route or of
 * `app.setErrorHandler`.
 */
export const openAIErrorHandler: ErrorHandler = errorHandler((error, request) => ({ error: errorOf(error, request) }))

/**
 * The options of a streamed chat completion: `reply.sse(asData(chunks), chatCompletionOptions)`. A stream that fails
 * ends with `{"error":{…}}`, for which the client of OpenAI throws. At shutdown the answer may end.
 */
export const chatCompletionOptions = {
  end: { data: '[DONE]' },
  errorEvent: (error: Error, context?: ErrorContext) => ({ data: { error: errorOf(error, context) } }),
  systemEvent: null,
  onShutdown: 'drain'
} as const satisfies StreamOptions

const RESPONSE_EVENTS = [
  'error', 'keepalive',
  'response.created', 'response.queued', 'response.in_progress', 'response.completed', 'response.failed',
  'response.incomplete',
  'response.output_item.added', 'response.output_item.done', 'response.content_part.added',
  'response.content_part.done', 'response.output_text.delta', 'response.output_text.done',
  'response.output_text.annotation.added', 'response.refusal.delta', 'response.refusal.done',
  'response.reasoning_text.delta', 'response.reasoning_text.done', 'response.reasoning_summary_part.added',
  'response.reasoning_summary_part.done', 'response.reasoning_summary_text.delta',
  'response.reasoning_summary_text.done',
  'response.function_call_arguments.delta', 'response.function_call_arguments.done',
  'response.custom_tool_call_input.delta', 'response.custom_tool_call_input.done',
  'response.file_search_call.in_progress', 'response.file_search_call.searching',
  'response.file_search_call.completed', 'response.web_search_call.in_progress',
  'response.web_search_call.searching', 'response.web_search_call.completed',
  'response.code_interpreter_call.in_progress', 'response.code_interpreter_call.interpreting',
  'response.code_interpreter_call.completed', 'response.code_interpreter_call_code.delta',
  'response.code_interpreter_call_code.done', 'response.image_generation_call.in_progress',
  'response.image_generation_call.generating', 'response.image_generation_call.partial_image',
  'response.image_generation_call.completed', 'response.mcp_call.in_progress', 'response.mcp_call.completed',
  'response.mcp_call.failed', 'response.mcp_call_arguments.delta', 'response.mcp_call_arguments.done',
  'response.mcp_list_tools.in_progress', 'response.mcp_list_tools.completed', 'response.mcp_list_tools.failed',
  'response.audio.delta', 'response.audio.done', 'response.audio.transcript.delta', 'response.audio.transcript.done'
] as const

/** The name of an event of the Responses API. */
export type ResponseEventName = typeof RESPONSE_EVENTS[number]

/** An event of the Responses API. The events of the official SDK have this type. Other fields are sent unchanged. */
export type ResponseEvent = { [N in ResponseEventName]: ResponseEventOf<N> }[ResponseEventName]

/** An event of the Responses API by its name. */
export interface ResponseEventOf<N extends string> {
  type: N
  sequence_number: number
  response?: object
  item?: object
  item_id?: string
  output_index?: number
  part?: object
  content_index?: number
  summary_index?: number
  delta?: string
  text?: string
  refusal?: string
  logprobs?: readonly object[]
  name?: string
  arguments?: string
  input?: string
  annotation?: unknown
  annotation_index?: number
  partial_image_b64?: string
  partial_image_index?: number
  status?: string
  code?: string | null
  message?: string
  param?: string | null
  error?: object
}

const responseEvent = openObject({ type: string, sequence_number: integer })

/** The events of a streamed response. For `schema.sse`. A later event of the API is one more property. */
export const responseEvents = Object.fromEntries(RESPONSE_EVENTS.map(name => [name, responseEvent])) as {
  readonly [N in ResponseEventName]: OpenObject<ResponseEventOf<N>>
}

/** The number of the next event of a stream that failed with this error. */
const nextNumber = new WeakMap<Error, number>()

/**
 * The options of a streamed response: `reply.sse(responses(events), responseOptions)`. A stream that fails ends with
 * the event `error`. It has the documented fields, and the `error` that the API itself sends and clients throw.
 */
export const responseOptions = {
  errorEvent: (error: Error, context?: ErrorContext) => {
    const { type, ...fields } = errorOf(error, context)
    const sequence = nextNumber.get(error) ?? 0
    return {
      event: 'error',
      data: { type: 'error', ...fields, sequence_number: sequence, error: { type, ...fields } }
    } as const
  },
  systemEvent: null,
  onShutdown: 'drain'
} as const satisfies StreamOptions

type Unnumbered = Omit<ResponseEventOf<string>, 'sequence_number'> & { readonly sequence_number?: number | undefined }
type Numbered<T> = T extends { readonly type: infer N extends string }
  ? { event: N, data: Omit<T, 'sequence_number'> & { type: N, sequence_number: number } } : never

/**
 * Converts the chunks of any source to events of the Responses API. The sources are those of `asData`. A chunk without
 * `sequence_number` gets the next number.
 */
export function responses<N extends ResponseEventName, T extends Unnumbered & { readonly type: N }> (
  source: EventSequence<T>
): AsyncIterable<Numbered<T>>
export function responses<N extends ResponseEventName, T extends Unnumbered & { readonly type: N },
  C extends PublishContext> (
  source: (context: C) => EventSequence<T> | Promise<EventSequence<T>>
): (context: C) => Promise<AsyncIterable<Numbered<T>>>
export function responses (source: unknown): unknown {
  return convert(source, () => {
    // The numbers of the last chunk and of the next one.
    let last = 0
    let next = 0
    return {
      chunk: value => {
        const chunk = Object(value) as Unnumbered
        last = chunk.sequence_number ?? next
        next = Number.isInteger(last) ? last + 1 : next
        return [{ event: chunk.type, data: { ...chunk, sequence_number: last } }]
      },
      failed: (error, rejected) => nextNumber.set(error, rejected && Number.isInteger(last) ? last : next)
    }
  })
}
