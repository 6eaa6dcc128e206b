// The first maximum of several rows of elements, four at a time.

struct First {
    value: vec4<f32>,
    at: vec4<u32>,
}

fn or_later(first: First, value: vec4<f32>, at: vec4<u32>) -> First {
    let larger = value > first.value;
    return First(select(first.value, value, larger), select(first.at, at, larger));
}
