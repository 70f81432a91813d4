import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import type { EventOf, SourceContext } from 'fastify-typed-sse'
import { page } from '../page.ts'

export const events = {
  progress: Type.Object({ percent: Type.Integer({ minimum: 0, maximum: 100 }), file: Type.String() }),
  done: Type.Object({ files: Type.Integer() })
}

const FILES = 25
const PER_FILE = 100

/**
 * A job that imports files. The id of each event is the number of finished files, so a client that reconnects resumes
 * there. The id is untrusted client input: if it is not such a number, the job starts again.
 */
async function * importFiles ({ signal, lastEventId = '0' }: SourceContext): AsyncGenerator<EventOf<typeof events>> {
  const resumed = Number(lastEventId)
  let done = Number.isInteger(resumed) && resumed >= 0 && resumed <= FILES ? resumed : 0
  while (done < FILES) {
    await sleep(PER_FILE, undefined, { signal })
    done++
    yield {
      event: 'progress',
      id: done,
      data: { percent: Math.round(done / FILES * 100), file: `orders-${String(done).padStart(2, '0')}.csv` }
    }
  }
  yield { event: 'done', data: { files: FILES } }
}

/** `GET /progress/events`: a `progress` event for each file, then `done`, after which the client closes. */
export default async function progress (app: FastifyInstance): Promise<void> {
  app.get('/progress/events', { schema: { sse: events } }, (_request, reply) => reply.sse(importFiles))
  page(app, '/progress', new URL('page.html', import.meta.url))
}
