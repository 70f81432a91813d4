import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { Owner } from '../clients/reader.ts'
import { asText, COMMENT, nextPiece, RETRY, startStory, type StoryServer } from './story.ts'

/**
 * `streamSSE` of the package `hono` on `@hono/node-server`. It writes the id after the data; a comment is written by
 * hand.
 */
export function startHono (t: Owner): Promise<StoryServer> {
  const app = new Hono()
  app.get('/', context => streamSSE(context, async stream => {
    await stream.write(`: ${COMMENT}\n\n`)
    for (const { id, event, data } of nextPiece(context.req.header('last-event-id'))) {
      await stream.writeSSE({ id, event, data: asText(data), retry: RETRY })
    }
  }))
  return startStory(t, 'hono', getRequestListener(app.fetch))
}
