import { EventStream, H3, toNodeHandler } from 'h3/node'
import type { Owner } from '../clients/reader.ts'
import { asText, COMMENT, nextPiece, RETRY, startStory, type StoryServer } from './story.ts'

/** `EventStream` of the package `h3`. It writes the id before the name. */
export function startH3 (t: Owner): Promise<StoryServer> {
  const app = new H3()
  app.get('/', event => {
    const stream = new EventStream(event)
    const tell = async (): Promise<void> => {
      await stream.pushComment(COMMENT)
      for (const { id, event: name, data } of nextPiece(event.req.headers.get('last-event-id') ?? undefined)) {
        await stream.push({ id, event: name, data: asText(data), retry: RETRY })
      }
      await stream.close()
    }
    tell().catch((error: unknown) => stream.push({ event: 'error', data: String(error) }))
    return stream
  })
  return startStory(t, 'h3', toNodeHandler(app))
}
