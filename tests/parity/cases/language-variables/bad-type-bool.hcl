variable "A" { type = BOOL }
target "default" {
  args = {
    v = "x"
  }
}
