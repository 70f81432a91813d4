import { createSession } from 'better-sse'
import type { Owner } from '../clients/reader.ts'
import { COMMENT, nextPiece, RETRY, startStory, type StoryServer } from './story.ts'

/**
 * The package `better-sse` on node:http. It writes all data as JSON, names every event, and writes no space after a
 * colon.
 */
export const startBetterSse = (t: Owner): Promise<StoryServer> =>
  startStory(t, 'better-sse', async (request, response) => {
    const session = await createSession(request, response, { retry: RETRY, keepAlive: null })
    await session.batch(buffer => {
      buffer.comment(COMMENT).dispatch()
    })
    for (const { id, event, data } of nextPiece(session.lastId)) session.push(data, event, id)
    response.end()
  }, JSON.stringify)
