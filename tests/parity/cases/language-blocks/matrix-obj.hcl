target "app" {
 matrix = {a=[{n="1",v="a"},{n="2",v="b"}]}
 name="x${a.n}"
 args={v=a.v}
}
