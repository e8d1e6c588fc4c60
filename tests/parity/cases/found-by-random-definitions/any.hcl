variable "V" {
  type = any
  default = null
}

variable "L" {
  type = list(any)
  default = null
}

target "default" {
  args = {
    v = jsonencode(V)
    l = jsonencode(L)
  }
}
