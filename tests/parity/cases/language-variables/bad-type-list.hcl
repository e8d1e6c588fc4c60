variable "A" { type = list }
target "default" {
  args = {
    v = "x"
  }
}
