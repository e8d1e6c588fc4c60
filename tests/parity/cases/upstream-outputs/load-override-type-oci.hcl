target "t" {
  output = ["type=oci,dest=t.tar"]
}
