// What a job knows of the machines whose slots it may use.

/** A host whose slots a job may use. */
export interface HostInfo {
  /** The number of its node: another one after each start of its worker. */
  node: number;
  /** Unique in the mesh. */
  name: string;
  /** The machine's own name. */
  host: string;
  slots: number;
  tags: string[];
  cores: number;
  arch: string;
  memoryBytes: number;
  /** It takes no new jobs; a job goes on there if it has begun to. Another host may have its name meanwhile. */
  retiring?: true;
}
