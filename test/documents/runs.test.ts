import { DocumentPrograms } from '../setup/document-programs.ts'

const document = new DocumentPrograms('lib/runs/README.md')

document.run({
  'A run': [async (t, app) => {
    t.equal((await app.inject('/runs/7')).statusCode, 204)
    t.strictSame((await app.inject({ method: 'DELETE', url: '/runs/7' })).json(), { stopped: false })
    const [first, second] = await Promise.all([app.inject({ method: 'POST', url: '/runs/7' }),
      app.inject({ method: 'POST', url: '/runs/7' })])
    const frames = (body: string): string => body.slice(body.indexOf('event: token'))
    t.equal(frames(first.body), frames(second.body))
    t.equal([...first.body.matchAll(/^event: token\n.*\ndata: (.*)$/gm)].map(([, token]) => token).join(''),
      'Once upon a time')
    t.equal(frames((await app.inject('/runs/7')).body), frames(first.body), 'a late client receives all events')
    const id = [...first.body.matchAll(/^id: (.+)$/gm)].at(-1)![1]
    t.equal((await app.inject({ url: '/runs/7', headers: { 'last-event-id': id } })).statusCode, 204)
    t.strictSame((await app.inject({ method: 'DELETE', url: '/runs/7' })).json(), { stopped: false })
    const stopped = app.inject({ method: 'POST', url: '/runs/8' })
    while (!(await app.inject({ method: 'DELETE', url: '/runs/8' })).json<{ stopped: boolean }>().stopped);
    t.match((await stopped).body, /event: stopped\nid: \S+\ndata: null\n\n$/)
  }]
})
