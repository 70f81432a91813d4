import { problemDetails } from '../contract/problem.ts'
import { withTexts } from '../schema/texts.ts'
import type { EventSequence, PublishContext } from '../source/source.ts'
import type { StreamOptions } from '../stream/options.ts'
import { convert } from './convert.ts'
import { errorHandler, type ErrorHandler } from './error-response.ts'
import { openObject } from './open-object.ts'

interface Provided { providerMetadata?: object }
interface ToolPart extends Provided { toolCallId: string, dynamic?: boolean, providerExecuted?: boolean }
type FinishReason = 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'error' | 'other'

/** A chunk of a UI message stream, as of `toUIMessageStream()`. Other fields are sent unchanged. */
export type UIMessageChunk =
  | { type: 'start', messageId?: string, messageMetadata?: unknown }
  | { type: 'start-step' | 'finish-step' }
  | ({ type: 'text-start' | 'text-end' | 'reasoning-start' | 'reasoning-end', id: string } & Provided)
  | ({ type: 'text-delta' | 'reasoning-delta', id: string, delta: string } & Provided)
  | ({ type: 'tool-input-start', toolName: string, title?: string, inputEncoding?: 'json' | 'text' } & ToolPart)
  | ({ type: 'tool-input-delta', inputTextDelta: string } & Pick<ToolPart, 'toolCallId'>)
  | ({ type: 'tool-input-available', toolName: string, input: unknown, title?: string } & ToolPart)
  | ({ type: 'tool-input-error', toolName: string, input: unknown, errorText: string, title?: string } & ToolPart)
  | ({ type: 'tool-output-available', output: unknown, preliminary?: boolean } & ToolPart)
  | ({ type: 'tool-output-error', errorText: string } & ToolPart)
  | { type: 'tool-output-denied', toolCallId: string }
  | { type: 'tool-approval-request', approvalId: string, toolCallId: string }
  | ({ type: 'source-url', sourceId: string, url: string, title?: string } & Provided)
  | ({ type: 'source-document', sourceId: string, mediaType: string, title: string, filename?: string } & Provided)
  | ({ type: 'file', url: string, mediaType: string } & Provided)
  | { type: `data-${string}`, id?: string, data: unknown, transient?: boolean }
  | { type: 'message-metadata', messageMetadata: unknown }
  | { type: 'error', errorText: string }
  | { type: 'abort', reason?: string }
  | { type: 'finish', finishReason?: FinishReason, messageMetadata?: unknown }

/** The events of a UI message stream: chunks, and `[DONE]` at the end. For `schema.sse`. */
export const uiMessageEvents = { message: withTexts(openObject<UIMessageChunk>({ type: { type: 'string' } }), '[DONE]') }

/** The headers of a UI message stream: `reply.headers(uiMessageHeaders)`. */
export const uiMessageHeaders = { 'x-vercel-ai-ui-message-stream': 'v1' }

function errorText (error: Error): string {
  const { title, detail = title } = problemDetails(error)
  return detail
}

/**
 * The options of a UI message stream: `reply.sse(uiMessages(chunks), uiMessageOptions)`. A stream that fails ends with
 * an `error` chunk, for which the client throws. At shutdown the answer may end.
 */
export const uiMessageOptions = {
  end: { data: '[DONE]' },
  errorEvent: (error: Error) => ({ data: { type: 'error', errorText: errorText(error) } } as const),
  systemEvent: null,
  onShutdown: 'drain'
} as const satisfies StreamOptions

/**
 * Replies to a request that failed before its stream with a text, which is the message of the client's error. An error
 * handler of a route or of `app.setErrorHandler`.
 */
export const uiMessageErrorHandler: ErrorHandler = errorHandler(errorText)

export interface UIMessagesOptions {
  /** The id of the answer, if its source names none. Default: the client chooses one. */
  messageId?: string | undefined
}

/** The chunks of a UI message stream, or tokens of text. */
export type UIMessageSource = EventSequence<UIMessageChunk | string>

interface UIMessageEvent { data: UIMessageChunk }

/**
 * Converts the chunks of `toUIMessageStream()`, or tokens of text, to events. The sources are those of `asData`. It
 * adds the chunks that a source leaves out: `start`, `finish`, and the ones around a text.
 */
export function uiMessages (source: UIMessageSource, options?: UIMessagesOptions): AsyncIterable<UIMessageEvent>
export function uiMessages<C extends PublishContext> (
  source: (context: C) => UIMessageSource | Promise<UIMessageSource>,
  options?: UIMessagesOptions
): (context: C) => Promise<AsyncIterable<UIMessageEvent>>
export function uiMessages (source: unknown, { messageId }: UIMessagesOptions = {}): unknown {
  return convert(source, () => {
    let isStarted = false
    let isFinished = false
    let texts = 0
    let text: string | undefined
    const start = (): UIMessageChunk[] => {
      if (isStarted) return []
      isStarted = true
      return [messageId === undefined ? { type: 'start' } : { type: 'start', messageId }]
    }
    const endText = (): UIMessageChunk[] => {
      if (text === undefined) return []
      const id = text
      text = undefined
      return [{ type: 'text-end', id }]
    }
    const ofToken = (delta: string): UIMessageChunk[] => {
      const before = start()
      if (text === undefined) before.push({ type: 'text-start', id: text = `text-${++texts}` })
      return [...before, { type: 'text-delta', id: text, delta }]
    }
    const ofChunk = (value: UIMessageChunk | null | undefined): unknown[] => {
      isFinished ||= value?.type === 'finish' || value?.type === 'abort' || value?.type === 'error'
      if (value?.type !== 'start') return [...start(), ...endText(), value]
      isStarted = true
      return [...endText(), messageId === undefined ? value : { messageId, ...value }]
    }
    const asEvents = (chunks: unknown[]): unknown[] => chunks.map(data => ({ data }))
    return {
      chunk: value => asEvents(typeof value === 'string' ? ofToken(value) : ofChunk(value as UIMessageChunk)),
      end: () => asEvents([...start(), ...endText(), ...isFinished ? [] : [{ type: 'finish' } as const]])
    }
  })
}
