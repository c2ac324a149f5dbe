/** The name of the node that `mesh up` starts for [rendezvous], and that `mesh rendezvous` has by default. */
export const RENDEZVOUS_NAME = "rendezvous";
