/** The text of a style sheet, where vite bundles it. */
declare module "*.css?inline" {
  const text: string;
  export default text;
}
