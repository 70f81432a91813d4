import { DocumentPrograms } from '../setup/document-programs.ts'

const document = new DocumentPrograms('lib/log/README.md')

document.run({ 'Your own log': [async () => {}] })
