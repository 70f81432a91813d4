import { connect, type StreamError } from '../../../lib/client.ts'
import { Reader, type Open } from './reader.ts'

/** The client of this package, without a map. It can listen to every name. */
export const openConnect: Open = async (t, url) => {
  const reader = new Reader()
  // A short delay, unless the server sets another.
  const stream = connect(url, { retryDelay: 20 })
  t.teardown(() => stream.close())
  const read = async (): Promise<void> => { for await (const event of stream) reader.show(event) }
  read().catch((error: StreamError) => {
    reader.show({ event: 'error', data: JSON.stringify(error.data), id: '' })
  }).finally(() => reader.stop())
  return reader
}
