export { default, type InspectorOptions } from './inspector/inspector.ts'
