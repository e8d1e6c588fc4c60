target "default" {
  args = {
    v0 = jsonencode(unixtimestampparse(1690328596))
    v1 = jsonencode(unixtimestampparse(0))
    v2 = jsonencode(unixtimestampparse(-1))
    v3 = jsonencode(can(unixtimestampparse(1.2)))
    v4 = jsonencode(unixtimestampparse("0").rfc3339)
    v5 = jsonencode(can(unixtimestampparse("x")))
  }
}
