import { gunzipSync } from 'node:zlib'
import type { Channel } from '../../lib/index.ts'
import { DocumentPrograms } from '../setup/document-programs.ts'
import { GzipReader } from '../setup/gzip-reader.ts'
import { listen } from '../setup/listen.ts'

const document = new DocumentPrograms('lib/stream/compression.md')

document.run({
  'Switching it on': [async (t, app) => {
    const { headers, rawPayload } = await app.inject({ url: '/report', headers: { 'accept-encoding': 'gzip' } })
    t.match(headers, { 'content-encoding': 'gzip', vary: 'Accept-Encoding', 'cache-control': 'no-cache' })
    t.equal(gunzipSync(rawPayload).toString(), 'data: line one\n\ndata: line two\n\n')
    const { prices } = await document.load<{ prices: Channel }>("'/prices'")
    const reader = await GzipReader.open(await listen(t, app), '/prices')
    t.equal(reader.headers['content-encoding'], 'gzip')
    await prices.publish({ event: 'price', data: { symbol: 'XAU', cents: 1 } })
    await reader.has('data: {"symbol":"XAU","cents":1}\n\n')
    reader.destroy()
  }]
})
