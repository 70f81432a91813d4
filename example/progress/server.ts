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
 * A job that imports files. Each event carries as its id how many are done, so that a client whose connection broke
 * goes on from there. The id comes from the client: a number of ours, or the job begins anew.
 */
async function * importFiles ({ signal, lastEventId = '0' }: SourceContext): AsyncGenerator<EventOf<typeof events>> {
  const resumed = Number(lastEventId)
  let done = Number.isInteger(resumed) && resumed >= 0 && resumed <= FILES ? resumed : 0
  while (done < FILES) {
    await sleep(PER_FILE, undefined, { signal })
    done++
    yield { event: 'progress', id: done, data: { percent: Math.round(done / FILES * 100), file: `orders-${String(done).padStart(2, '0')}.csv` } }
  }
  yield { event: 'done', data: { files: FILES } }
}

/** `GET /progress/events`: a `progress` event for each file, then `done`, upon which the client closes. */
export default async function progress (app: FastifyInstance): Promise<void> {
  app.get('/progress/events', { schema: { sse: events } }, (_request, reply) => reply.sse(importFiles))
  page(app, '/progress', new URL('page.html', import.meta.url))
}
