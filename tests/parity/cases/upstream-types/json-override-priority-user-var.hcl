variable "V" {
  type = list(number)
}
variable "V_JSON" {
  type = list(number)
}
target "default" { args = { v = jsonencode(V), w = jsonencode(V_JSON) } }
