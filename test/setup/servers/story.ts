import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Message, Owner } from '../clients/reader.ts'

// A short story that servers of other people tell, each with its own library, for a client to read.

export interface Sentence { id: string, event: string, data: string | object }

export const STORY: readonly Sentence[] = [
  { id: '1', event: 'message', data: 'Once upon a time' },
  { id: '2', event: 'chapter', data: { n: 1, title: 'Grüße, 漢字 and 👋🏽' } },
  { id: '3', event: 'chapter', data: 'one\ntwo\n\nfour' },
  { id: '4', event: 'message', data: '' },
  { id: '5', event: 'größe', data: ' one space before, : and a colon' },
  { id: '6', event: 'over', data: [null, 'the end'] }
]

/** A connection brings so many sentences, and ends. */
const PIECE = 2

/** What each connection is told to wait before the next. */
export const RETRY = 20

export const COMMENT = 'a word for people'

export interface StoryServer {
  name: string
  url: string
  /** What a client shows in the end, whichever way it came to it. */
  told: Message[]
  /** The Last-Event-ID of each request. */
  positions: Array<string | undefined>
}

/** The sentences for the next connection of a client; none when it has heard all. */
export function nextPiece (position: string | undefined): readonly Sentence[] {
  const from = STORY.findIndex(({ id }) => id === position) + 1
  return STORY.slice(from, from + PIECE)
}

/** Serves at 127.0.0.1 until the test is over. `text` is how the library writes what is not JSON. */
export async function startStory (t: Owner, name: string, listener: RequestListener, text: (data: string) => string = data => data): Promise<StoryServer> {
  const positions: StoryServer['positions'] = []
  const server = createServer((request, response) => {
    positions.push(request.headers['last-event-id'] as string | undefined)
    // All is told: this is how a server says so.
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
  const told = STORY.map(({ id, event, data }) => ({ id, event, data: typeof data === 'string' ? text(data) : JSON.stringify(data) }))
  return { name, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, told, positions }
}

export const asText = (data: string | object): string => typeof data === 'string' ? data : JSON.stringify(data)
