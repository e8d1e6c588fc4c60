target "t" {
  context  = "."
  contexts = { beside = "../beside" }
}
