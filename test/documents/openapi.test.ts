import { DocumentPrograms } from '../setup/document-programs.ts'
import { faultsOf, readerOf, type Json } from '../setup/document.ts'

new DocumentPrograms('lib/openapi/README.md').run({
  Setup: [
    async (t, app) => {
      const document = JSON.parse(JSON.stringify(app.swagger())) as Json
      t.strictSame(await faultsOf(document), [])
      const read = readerOf(document,
        document.paths!['/orders']!.get!.responses!['200']!.content!['text/event-stream']!.itemSchema!)
      t.ok(read({ event: 'created', data: '{"id":"0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d","total":12.5}' }))
      t.ok(read({ event: 'note', data: 'so' }))
      t.notOk(read({ event: 'created', data: '{"id":"7","total":12.5}' }))
    }
  ],
  'Other transforms': [
    async (t, app) => {
      await app.ready()
      t.match(app.swagger(), {
        paths: {
          '/ticks': {
            get: { tags: ['live'], responses: { 200: { content: { 'text/event-stream': { itemSchema: {} } } } } }
          }
        }
      })
    }
  ]
})
