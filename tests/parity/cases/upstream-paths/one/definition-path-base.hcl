target "t" {
  context  = "."
  contexts = { beside = "../beside" }
}
target "implicit" {
  dockerfile-inline = "FROM scratch"
}
