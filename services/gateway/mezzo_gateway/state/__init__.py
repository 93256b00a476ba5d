"""The gateway's copy of the cluster's state. Pure: what arrives is data, and so is what is answered."""
