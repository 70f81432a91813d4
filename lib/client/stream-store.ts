import { callbackError } from './callback.ts'
import { connect, type RawConnectOptions } from './connect.ts'
import type { RawEvent } from './encoding.ts'
import type { EventStream } from './event-stream.ts'
import type { PerAttempt } from './request.ts'
import type { StreamError } from './stream-error.ts'
import type { StreamState } from './stream-reader.ts'

/** The address of a stream; null or undefined for none. */
export type StreamUrl = PerAttempt<string | URL> | null | undefined

/** A stream as a component renders it. Each change makes another object. */
export interface StreamSnapshot<S> {
  /** The result of the last `reduce`; without it, the last event. */
  readonly state: S
  /** The `state` of the stream; `closed` without a URL. */
  readonly status: StreamState
  /**
   * The last failure, until the stream is live again. With the status `connecting` another attempt follows; with
   * `closed` this error ended the stream.
   */
  readonly error: StreamError | undefined
}

/** The options of `connect`, with any map, and those of the store. */
export interface StoreOptions extends Omit<RawConnectOptions, 'events' | 'validate'> {
  readonly url: StreamUrl
  readonly reduce?: ((state: never, event: never) => unknown) | undefined
  readonly initialState?: unknown
}

/** An external store: connects while it has a subscriber, and keeps the state that `reduce` makes of the events. */
export interface StreamStore {
  readonly key: string
  readonly get: () => StreamSnapshot<unknown>
  /** Returns an effect: options of a render that is never committed are never used. */
  readonly keep: (options: StoreOptions) => () => void
  /** Returns the function that closes the connection. */
  readonly subscribe: (changed: () => void) => () => void
}

export function streamStore (key: string, options: StoreOptions): StreamStore {
  const initial: StreamSnapshot<unknown> = {
    state: options.initialState,
    status: options.url == null ? 'closed' : 'connecting',
    error: undefined
  }
  let now = initial
  return {
    key,
    get: () => now,
    keep: latest => () => { options = latest },
    subscribe (changed) {
      let active = true
      let timer: ReturnType<typeof setTimeout> | undefined
      let stream: EventStream<RawEvent> | undefined
      const set = (part: Partial<StreamSnapshot<unknown>>): void => {
        if (!active) return
        now = { ...now, ...part }
        // Events that arrive together render once.
        timer ??= setTimeout(() => {
          timer = undefined
          changed()
        })
      }
      now = initial
      // In a microtask: an effect that StrictMode repeats at once opens one connection.
      queueMicrotask(async () => {
        if (!active || options.url == null) return
        // The second subscription of a store starts from the initial state.
        changed()
        const { url, reduce = (_state, event) => event, initialState, ...rest } = latestFunctions(() => options)
        stream = connect(url!, {
          ...rest,
          onError: (error, next) => {
            set({ error })
            return rest.onError?.(error, next)
          },
          onStateChange: status => {
            set({ status, error: status === 'live' || status === 'replaying' ? undefined : now.error })
            rest.onStateChange?.(status)
          }
        })
        let error: StreamError | undefined
        try {
          for await (const event of stream) set({ state: reduce(now.state as never, event as never) })
        } catch (thrown) {
          error = callbackError('reduce()', thrown)
        }
        set({ error })
      })
      return () => {
        active = false
        clearTimeout(timer)
        stream?.close()
      }
    }
  }
}

/** Returns the options. Each function among them calls the one of the latest render. */
function latestFunctions (read: () => StoreOptions): StoreOptions {
  const functions = Object.entries(read()).map(([name, value]: [string, unknown]) => [
    name,
    typeof value === 'function'
      ? (...args: unknown[]): unknown => {
          const latest: unknown = read()[name as keyof StoreOptions]
          return typeof latest === 'function' ? latest(...args) as unknown : latest
        }
      : value
  ])
  return Object.fromEntries(functions) as StoreOptions
}
