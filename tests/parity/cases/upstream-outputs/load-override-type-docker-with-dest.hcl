target "t" {
  output = ["type=docker,dest=t.tar"]
}
