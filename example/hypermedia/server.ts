import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import {
  html, htmxEvents, htmxOptions, turboEvents, turboOptions, turboStream, type Html
} from 'fastify-typed-sse/protocols/hypermedia'
import { page } from '../page.ts'

/** The libraries of the page, by their paths. */
const SCRIPTS = {
  '/hypermedia/htmx.js': 'htmx.org/dist/htmx.js',
  '/hypermedia/sse.js': 'htmx-ext-sse/dist/sse.js',
  '/hypermedia/turbo.js': '@hotwired/turbo/dist/turbo.es2017-umd.js'
}

const note = (text: string): Html => html`<li>
  <time>${new Date().toISOString().slice(11, 19)}</time>
  <span>${text}</span>
</li>`

/**
 * `GET /hypermedia/htmx` and `/hypermedia/turbo`: the notes that `POST /hypermedia/notes` receives, as HTML for two
 * libraries.
 */
export default async function hypermedia (app: FastifyInstance): Promise<void> {
  const forHtmx = app.sse.channel('notes-htmx', { events: htmxEvents })
  const forTurbo = app.sse.channel('notes-turbo', { events: turboEvents })

  app.get('/hypermedia/htmx', { schema: { sse: htmxEvents } }, (_request, reply) => reply.sse(forHtmx, htmxOptions))
  app.get('/hypermedia/turbo', { schema: { sse: turboEvents } }, (_request, reply) => reply.sse(forTurbo, turboOptions))

  app.withTypeProvider<TypeBoxTypeProvider>().post('/hypermedia/notes', {
    schema: { body: Type.Object({ text: Type.String({ minLength: 1, maxLength: 200 }) }) }
  }, async ({ body }, reply) => {
    const content = note(body.text)
    await forHtmx.publish({ data: String(content) })
    await forTurbo.publish({ data: turboStream('append', { target: 'turbo' }, content) })
    return reply.code(204).send()
  })

  const { resolve } = createRequire(import.meta.url)
  for (const [path, file] of Object.entries(SCRIPTS)) page(app, path, pathToFileURL(resolve(file)))
  page(app, '/hypermedia', new URL('page.html', import.meta.url))
}
