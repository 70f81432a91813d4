import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Message, Owner } from '../clients/reader.ts'

// A short story that servers with third-party libraries send to a client.

export interface Sentence { id: string, event: string, data: string | object }

export const STORY: readonly Sentence[] = [
  { id: '1', event: 'message', data: 'Once upon a time' },
  { id: '2', event: 'chapter', data: { n: 1, title: 'Grüße, 漢字 and 👋🏽' } },
  { id: '3', event: 'chapter', data: 'one\ntwo\n\nfour' },
  { id: '4', event: 'message', data: '' },
  { id: '5', event: 'größe', data: ' one space before, : and a colon' },
  { id: '6', event: 'over', data: [null, 'the end'] }
]

/** Each connection sends that many sentences, and ends. */
const PIECE = 2

/** The retry delay of each connection. */
export const RETRY = 20

export const COMMENT = 'a word for people'

export interface StoryServer {
  name: string
  url: string
  /** The events that a client must have received at the end. */
  expected: Message[]
  /** The Last-Event-ID of each request. */
  positions: Array<string | undefined>
}

/** The sentences for the next connection of a client; none at the end. */
export function nextPiece (position: string | undefined): readonly Sentence[] {
  const from = STORY.findIndex(({ id }) => id === position) + 1
  return STORY.slice(from, from + PIECE)
}

/** Serves at 127.0.0.1 until the end of the test. `text` is how the library writes data that is not JSON. */
export async function startStory (
  t: Owner,
  name: string,
  listener: RequestListener,
  text: (data: string) => string = data => data
): Promise<StoryServer> {
  const positions: StoryServer['positions'] = []
  const server = createServer((request, response) => {
    positions.push(request.headers['last-event-id'] as string | undefined)
    // The story is complete: a server signals that with 204.
    if (nextPiece(positions.at(-1)).length === 0) response.writeHead(204).end()
    else listener(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  })
  const expected = STORY.map(({ id, event, data }) => ({
    id,
    event,
    data: typeof data === 'string' ? text(data) : JSON.stringify(data)
  })
  )
  return { name, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, expected, positions }
}

export const asText = (data: string | object): string => typeof data === 'string' ? data : JSON.stringify(data)
