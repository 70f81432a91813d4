/**
 * Listens to an event of the window or the worker. Returns a function that removes the listener. Node and React Native
 * have no such events. A page that enters the back/forward cache has `pagehide`, and `pageshow` when it returns (WHATWG
 * HTML §7.4.6).
 */
export function onPageEvent (type: 'pagehide' | 'pageshow' | 'online', listener: () => void): () => void {
  const { addEventListener, removeEventListener } = globalThis as Partial<
    Pick<typeof globalThis, 'addEventListener' | 'removeEventListener'>
  >
  addEventListener?.(type, listener)
  return () => removeEventListener?.(type, listener)
}
