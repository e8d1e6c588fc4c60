variable "A" { type = boolean }
target "default" {
  args = {
    v = "x"
  }
}
