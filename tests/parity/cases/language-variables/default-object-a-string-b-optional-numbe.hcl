variable "A" {
  type = object({a=string,b=optional(number)})
  default = {a=1}
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
