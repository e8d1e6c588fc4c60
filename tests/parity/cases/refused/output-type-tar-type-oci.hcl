target "default" {
  output = ["type=tar", "type=oci"]
}
