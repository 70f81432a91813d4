import { bodyOf, DocumentPrograms } from '../setup/document-programs.ts'

new DocumentPrograms('lib/contract/README.md').run({
  Checks: [async (t, app) => {
    t.equal(await bodyOf(app, '/mixed'),
      'event: sent\ndata: {"id":"0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d"}\n\nevent: count\ndata: 2\n\n')
  }],
  Types: [
    async (t, app) => {
      t.equal(await bodyOf(app, '/job'), 'event: progress\ndata: {"percent":50}\n\nevent: done\ndata: report.pdf\n\n')
    },
    async (t, app) => {
      t.equal(await bodyOf(app, '/work'), 'event: progress\ndata: 50\n\nevent: done\nid: last\ndata: report.pdf\n\n')
    },
    async (t, app) => {
      const response = await app.inject({ method: 'POST', url: '/answer' })
      t.equal(response.body, 'event: start\ndata: {"type":"start","id":"a1"}\n\n' +
        'event: delta\ndata: {"type":"delta","text":"Hello"}\n\n')
    },
    async (t, app) => {
      t.equal(await bodyOf(app, '/orders/7'), 'event: paid\ndata: {"id":"7"}\n\n')
    }
  ]
})
