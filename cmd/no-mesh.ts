/** Stands for no mesh where a head is told the name of its mesh: no name begins like this. */
export const NO_MESH = "-";
