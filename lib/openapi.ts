export { sseTransform, type TransformResult, type TransformInput } from './openapi/transform.ts'
export type { OpenApiDocument } from './openapi/components.ts'
