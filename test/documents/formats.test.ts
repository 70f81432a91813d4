import type { Channel } from '../../lib/index.ts'
import { bodyOf, DocumentPrograms } from '../setup/document-programs.ts'
import { until } from '../setup/until.ts'

const document = new DocumentPrograms('lib/stream/formats.md')

document.run({
  'Offering formats': [async (t, app) => {
    const [lines, array] = document.block('Offering formats', 'text').split(/^\$ curl.*\n/m).slice(1)
    const ask = async (url: string, accept: string): Promise<string> => await bodyOf(app, url, { accept })
    t.equal(await ask('/report', 'application/x-ndjson'), lines)
    t.equal(await ask('/report', 'application/json'), array)
    t.match(await bodyOf(app, '/report'), /^event: row\n/)
    const epoch = /"([0-9A-Za-z]+)-0"/
    const start = await ask('/prices', 'application/json')
    const answer = ask(`/prices?wait=20&lastEventId=${epoch.exec(start)![1]}-0`, 'application/json')
    const { prices } = await document.load<{ prices: Channel }>("'/prices'")
    await until('the stream', () => prices.subscribers === 1)
    await prices.publish({ event: 'price', data: { cents: 995 } })
    const documented = document.block('Long polling', 'text').split(/^\$ curl.*\n/m)[1]!
    t.equal(documented.replaceAll(/[0-9a-z]+(?=-\d")/g, epoch.exec(start)![1]!), await answer)
  }]
})
