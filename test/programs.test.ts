import { chmodSync } from 'node:fs'
import { delimiter } from 'node:path'
import t from 'tap'
import { CHROMIUM, find, missing, POSTGRES } from './setup/programs.ts'

t.test('the path of a program is the value of its variable, else the first of its names on the PATH', async t => {
  const program = { ...CHROMIUM, names: ['chromium', 'google-chrome'] }
  const folder = t.testdir({ one: { chrome: '', chromium: '' }, two: { 'google-chrome': '' } })
  const [one, two] = [`${folder}/one`, `${folder}/two`]
  for (const file of [`${one}/chrome`, `${two}/google-chrome`]) chmodSync(file, 0o755)
  const PATH = `${one}${delimiter}${two}`
  t.equal(find(program, { PATH }), `${two}/google-chrome`, 'a file that cannot be run is none')
  t.equal(find(program, { PATH, CHROMIUM_PATH: `${one}/chrome` }), `${one}/chrome`)
  t.equal(find(program, { PATH, CHROMIUM_PATH: `${one}/nothing` }), undefined)
  t.equal(find(program, { PATH: one }), undefined)
  t.equal(find(program, {}), undefined)
  t.equal(missing(program), 'Chromium was not found: apt-get install chromium, or set CHROMIUM_PATH')
})

t.test('a program that is not on the PATH is found in its own folders, the newest version first', async t => {
  const folder = t.testdir({ 9: { bin: { postgres: '' } }, 15: { bin: { postgres: '' } }, 16: {} })
  for (const version of [9, 15]) chmodSync(`${folder}/${version}/bin/postgres`, 0o755)
  const program = { ...POSTGRES, folders: [`${folder}/*/bin`] }
  t.equal(find(program, { PATH: '/nowhere' }), `${folder}/15/bin/postgres`)
  t.equal(find({ ...program, folders: [`${folder}/none/*`] }, { PATH: '/nowhere' }), undefined)
  t.equal(find({ ...program, file: `${folder}/none` }, { PATH: '/nowhere' }), undefined, 'its package is not installed')
})
