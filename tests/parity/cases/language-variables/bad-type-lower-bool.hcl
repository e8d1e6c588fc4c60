variable "A" { type = lower("bool") }
target "default" {
  args = {
    v = "x"
  }
}
