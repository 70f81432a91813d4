import { useEffect, useState, useSyncExternalStore } from 'react'
import type { EventMap } from '../contract/event-types.ts'
import type { ConnectOptions, RawConnectOptions } from './connect.ts'
import type { ClientEventOf, RawEvent } from './encoding.ts'
import { streamStore, type StoreOptions, type StreamSnapshot, type StreamUrl } from './stream-store.ts'

export type { StreamSnapshot, StreamUrl } from './stream-store.ts'

/** An option of `useStream` beside those of `connect`. */
export interface UseStreamOptions {
  /** A change connects again, from the initial state: name the values that the other options depend on. */
  key?: string | number | undefined
}

/** Options that make a state of the events. */
export interface ReduceOptions<E, S> {
  /** Returns the next state. If it throws, the stream closes with FST_SSE_CALLBACK. */
  reduce: (state: S, event: E) => S
  initialState: S
}

interface LastEvent { reduce?: undefined, initialState?: undefined }

/**
 * Connects while the component is mounted, and renders with each change of the state, the status or the error. A
 * changed URL or key connects again. The options are read when the stream connects, and their functions are those of
 * the latest render. Without a URL it does not connect; a server only renders the initial state.
 */
export function useStream<M extends EventMap, S> (
  url: StreamUrl,
  options: ConnectOptions<M> & UseStreamOptions & ReduceOptions<ClientEventOf<M>, S>
): StreamSnapshot<S>
export function useStream<M extends EventMap> (
  url: StreamUrl,
  options: ConnectOptions<M> & UseStreamOptions & LastEvent
): StreamSnapshot<ClientEventOf<M> | undefined>
export function useStream<S> (
  url: StreamUrl,
  options: RawConnectOptions & UseStreamOptions & ReduceOptions<RawEvent, S>
): StreamSnapshot<S>
export function useStream (
  url: StreamUrl,
  options?: RawConnectOptions & UseStreamOptions & LastEvent
): StreamSnapshot<RawEvent | undefined>
export function useStream (url: StreamUrl, { key, ...rest }: UseStreamOptions & object = {}): StreamSnapshot<unknown> {
  const options: StoreOptions = { ...rest, url }
  const name = `${key} ${String(url)}`
  let [store, setStore] = useState(() => streamStore(name, options))
  if (store.key !== name) setStore(store = streamStore(name, options))
  useEffect(store.keep(options))
  return useSyncExternalStore(store.subscribe, store.get, store.get)
}
