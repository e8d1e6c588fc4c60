variable "V_JSON" {
  type = list(number)
}
target "default" { args = { v = length(V_JSON) } }
