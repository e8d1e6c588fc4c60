target "t" {
  dockerfile-inline = "FROM scratch"
}
