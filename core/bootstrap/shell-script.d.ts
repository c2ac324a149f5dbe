/** A script for hosts, as text. */
declare module "*.sh" {
  const text: string;
  export default text;
}
