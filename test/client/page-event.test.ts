import t from 'tap'
import { onPageEvent } from '../../lib/client/page-event.ts'

t.test('without a window there is no listener', async t => {
  t.notOk('addEventListener' in globalThis)
  onPageEvent('online', () => t.fail())()
})

t.test('a listener gets its event until it is removed', async t => {
  const target = new EventTarget()
  t.intercept(globalThis, 'addEventListener', { value: target.addEventListener.bind(target) })
  t.intercept(globalThis, 'removeEventListener', { value: target.removeEventListener.bind(target) })
  let heard = 0
  const stop = onPageEvent('pageshow', () => { heard++ })
  target.dispatchEvent(new Event('pageshow'))
  target.dispatchEvent(new Event('pagehide'))
  stop()
  target.dispatchEvent(new Event('pageshow'))
  t.equal(heard, 1)
})
