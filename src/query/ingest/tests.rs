//! The whole way of a file: refusals with their lines, exact values, stable ordinals, limits, atomicity.

use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray as _, BinaryArray, Decimal128Array, DictionaryArray, Float32Array, Int32Array,
        RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array,
        types::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type},
    },
    datatypes::DataType,
};
use datafusion::parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, Encoding, GzipLevel, ZstdLevel},
    data_type::ByteArrayType,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::*;
use crate::domain::ColumnRole;

struct Bench {
    directory: tempfile::TempDir,
    key: Option<SubjectKey>,
    notes: Vec<ColumnNote>,
    limits: Limits,
    known: HashMap<String, u32>,
}

impl Bench {
    fn new() -> Self {
        let limits = Limits { max_bytes: 1 << 30, max_rows: 1_000_000, ..Limits::default() };
        Self { directory: tempfile::tempdir().unwrap(), key: None, notes: Vec::new(), limits, known: HashMap::new() }
    }

    fn keyed(column: &str) -> Self {
        let key = SubjectKey { column: column.to_owned(), namespace: "patients".parse().unwrap() };
        Self { key: Some(key), ..Self::new() }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("snapshot.parquet")
    }

    fn run(&self, bytes: impl AsRef<[u8]>, format: Format) -> Result<Ingested> {
        let staged = self.directory.path().join("staged");
        fs::write(&staged, bytes).unwrap();
        let _ = fs::remove_file(self.target());
        let instructions = Instructions { subject_key: self.key.as_ref(), notes: &self.notes, limits: self.limits };
        let source = Source { path: &staged, format };
        let outcome = ingest(source, &instructions, self.known.clone(), &self.target(), &mut |_| {});
        let mut left: Vec<_> = fs::read_dir(self.directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.retain(|name| name != "staged");
        // Whole or not at all, whatever the outcome.
        assert_eq!(left.len(), usize::from(outcome.is_ok()), "{left:?}");
        outcome
    }

    fn csv(&self, text: impl AsRef<[u8]>) -> Result<Ingested> {
        self.run(text, Format::Csv)
    }

    fn parquet(&self, columns: Vec<(&str, ArrayRef)>, codec: Compression) -> Result<Ingested> {
        self.run(parquet(columns, codec), Format::Parquet)
    }

    fn read(&self) -> RecordBatch {
        let file = File::open(self.target()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    /// The line and detail of the refusal.
    fn refusal(&self, text: impl AsRef<[u8]>) -> (String, String) {
        malformed(&self.csv(text).unwrap_err())
    }
}

fn malformed(error: &Error) -> (String, String) {
    assert_eq!(error.reason(), Reason::UploadMalformed, "{error}");
    (error.params()["line"].clone(), error.params()["detail"].clone())
}

fn parquet(columns: Vec<(&str, ArrayRef)>, codec: Compression) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let mut bytes = Vec::new();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn kinds(ingested: &Ingested) -> Vec<String> {
    ingested.columns.iter().map(|c| format!("{} {} {:?}", c.name, c.data_type, c.role)).collect()
}

#[test]
fn a_csv_becomes_typed_columns_with_roles_and_exact_values() {
    let mut bench = Bench::keyed("patient");
    bench.notes =
        vec![ColumnNote { name: "commune".into(), role: Some(ColumnRole::Key), description: "INSEE code".into() }];
    let text = "patient;commune;age;cost;admitted;urgent;seen_at;nom\n\
                p_1;01004;70;1234567.10;2025-03-01;true;2025-03-01T10:00:00+01:00;Aÿ\n\
                p_2;31555;;-0.05;;;;\"a \"\"b\"\";\nc\"\n";
    let ingested = bench.csv(text).unwrap();
    assert_eq!(
        kinds(&ingested),
        [
            "patient string SubjectKey",
            "commune string Key",
            "age int64 Measure",
            "cost decimal(9,2) Measure",
            "admitted date Dimension",
            "urgent boolean Dimension",
            "seen_at timestamp Dimension",
            "nom string Dimension",
        ]
    );
    assert_eq!(ingested.columns[1].description, "INSEE code");
    assert_eq!(ingested.columns.iter().map(|c| c.nullable).collect::<Vec<_>>(), [&[false][..], &[true; 7]].concat());
    assert_eq!((ingested.rows, ingested.subjects), (2, Some(2)));
    let batch = bench.read();
    assert_eq!(batch.schema().fields().last().unwrap().name(), ORDINAL_COLUMN);
    assert_eq!(batch["commune"].as_string::<i32>().value(0), "01004");
    assert!(batch["age"].as_primitive::<Int64Type>().is_null(1));
    let cost = batch["cost"].as_primitive::<Decimal128Type>();
    assert_eq!((cost.value(0), cost.value(1), cost.scale()), (123_456_710, -5, 2));
    assert_eq!(batch["admitted"].data_type(), &DataType::Date32);
    assert_eq!(batch["seen_at"].as_primitive::<TimestampMicrosecondType>().value(0), 1_740_819_600_000_000);
    assert_eq!(batch["nom"].as_string::<i32>().value(1), "a \"b\";\nc");
}

#[test]
fn the_real_communes_are_taken_as_they_are() {
    let bench = Bench::new();
    let ingested = bench.csv(include_str!("../../../data/communes-occitanie.csv")).unwrap();
    assert_eq!(ingested.rows, 4_446);
    let types: Vec<_> = ingested.columns.iter().map(|c| (c.name.as_str(), c.data_type.to_string())).collect();
    assert!(types.contains(&("code_insee", "string".into())) && types.contains(&("population", "int64".into())));
    println!("{types:?}");
}

#[test]
fn digests_and_size_are_those_of_the_files() {
    let bench = Bench::new();
    let ingested = bench.csv("a\n1\n").unwrap();
    let written = fs::read(bench.target()).unwrap();
    assert_eq!(ingested.digest, Digest::of(&written));
    assert_eq!(ingested.bytes, u64::try_from(written.len()).unwrap());
    assert_eq!(ingested.source_digest, Digest::of(b"a\n1\n"));
    assert_eq!((ingested.subjects, ingested.new_subjects.len()), (None, 0));
}

#[test]
fn each_refusal_of_a_csv_names_the_line() {
    let bench = Bench::keyed("p");
    let long = format!("p,x\n1,2\n{},2\n", "k".repeat(129));
    let huge = format!("p,x\n1,2\n2,{}\n", "k".repeat(65_537));
    let cases: [(&[u8], &str, &str); 12] = [
        (b"", "1", "empty"),
        (b"p,x\n1,2\n3\n", "3", "has 1 cells where the header has 2"),
        (b"p,x\n1,2\n3,4,5\n", "3", "more than 2 cells"),
        (b"p,x\n1,2\n3,\"4\n5,6\n", "3", "never ends"),
        (b"p,x\n1,2\n3,\xff\n", "3", "UTF-8"),
        (b"p,\xff\n1,2\n", "1", "UTF-8"),
        (b"p,x\n\"1\n\",2\n,4\n", "4", "subject key is empty"),
        (b"p,X y\n1,2\n", "1", "`x_y`"),
        (b"p,__ordinal\n1,2\n", "1", "reserves"),
        (b"p,p\n1,2\n", "1", "two columns"),
        (long.as_bytes(), "3", "128 bytes"),
        (huge.as_bytes(), "3", "65536 bytes"),
    ];
    for (text, line, detail) in cases {
        let (at, why) = bench.refusal(text);
        assert_eq!(at, line, "{why}");
        assert!(why.contains(detail), "{why}");
    }
}

#[test]
fn instructions_that_do_not_fit_the_file_are_refused() {
    let refused = |bench: &Bench| bench.csv("a,b\n1,2\n").unwrap_err().reason();
    assert_eq!(refused(&Bench::keyed("c")), Reason::ColumnUnknown);
    let note = |name: &str, role| ColumnNote { name: name.into(), role, description: String::new() };
    let cases = [
        (note("c", None), Reason::ColumnUnknown),
        (note("a", Some(ColumnRole::Dimension)), Reason::InvalidArgument),
        (note("b", Some(ColumnRole::SubjectKey)), Reason::InvalidArgument),
    ];
    for (notes, reason) in cases {
        let bench = Bench { notes: vec![notes], ..Bench::keyed("a") };
        assert_eq!(refused(&bench), reason);
    }
}

#[test]
fn limits_hold_for_csv() {
    let mut bench = Bench::new();
    bench.limits.max_rows = 2;
    assert!(bench.csv("a\n1\n2\n").is_ok());
    assert_eq!(bench.csv("a\n1\n2\n3\n").unwrap_err().reason(), Reason::UploadTooLarge);
    bench.limits.max_bytes = 5;
    assert_eq!(bench.csv("a\n1\n2\n").unwrap_err().reason(), Reason::UploadTooLarge);
    let bench = Bench::new();
    let header = (0..513).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
    assert!(bench.refusal(header).1.contains("more than 512 cells"));
}

#[test]
fn ordinals_are_dense_and_stable_from_one_snapshot_to_the_next() {
    let mut bench = Bench::keyed("p");
    let first = bench.csv("p\nb\na\nb\n").unwrap();
    assert_eq!((first.subjects, first.new_subjects.as_slice()), (Some(2), &["b".to_owned(), "a".into()][..]));
    bench.known = first.new_subjects.into_iter().zip(0..).collect();
    let second = bench.csv("p\nc\na\nc\n").unwrap();
    assert_eq!((second.subjects, second.new_subjects.as_slice()), (Some(2), &["c".to_owned()][..]));
    assert_eq!(bench.read()[ORDINAL_COLUMN].as_primitive::<UInt32Type>().values(), &[2, 1, 2]);
}

#[test]
fn numbers_can_be_subjects_and_stay_text() {
    let bench = Bench::keyed("p");
    assert_eq!(kinds(&bench.csv("p,x\n7,1\n").unwrap())[0], "p string SubjectKey");
    let keys: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
    assert_eq!(kinds(&bench.parquet(vec![("p", keys)], Compression::SNAPPY).unwrap())[0], "p string SubjectKey");
    assert_eq!(bench.read()["p"].as_string::<i32>().value(1), "8");
    let keys: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
    assert_eq!(malformed(&bench.parquet(vec![("p", keys)], Compression::SNAPPY).unwrap_err()).0, "2");
    let keys: ArrayRef = Arc::new(Float32Array::from(vec![7.0]));
    let error = bench.parquet(vec![("p", keys)], Compression::SNAPPY).unwrap_err();
    assert!(malformed(&error).1.contains("text or an integer"));
}

#[test]
fn an_existing_object_is_never_overwritten() {
    let bench = Bench::new();
    let staged = bench.directory.path().join("staged");
    fs::write(&staged, "a\n1\n").unwrap();
    fs::write(bench.target(), "kept").unwrap();
    let instructions = Instructions { subject_key: None, notes: &[], limits: bench.limits };
    let source = Source { path: &staged, format: Format::Csv };
    let error = ingest(source, &instructions, HashMap::new(), &bench.target(), &mut |_| {}).unwrap_err();
    assert_eq!(error.reason(), Reason::AlreadyExists);
    assert_eq!(fs::read(bench.target()).unwrap(), b"kept");
}

#[test]
fn parquet_types_are_mapped_and_dictionaries_unpacked() {
    let bench = Bench::new();
    let decimals = Decimal128Array::from(vec![12_345]).with_precision_and_scale(20, 3).unwrap();
    let words: DictionaryArray<Int32Type> = vec!["x"].into_iter().collect();
    let zoned = TimestampNanosecondArray::from(vec![1_500]).with_timezone("+02:00");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(UInt64Array::from(vec![5]))),
        ("f", Arc::new(Float32Array::from(vec![0.5]))),
        ("d", Arc::new(decimals)),
        ("w", Arc::new(words)),
        ("t", Arc::new(zoned)),
        ("l", Arc::new(TimestampNanosecondArray::from(vec![2_000]))),
        ("y", Arc::new(arrow::array::Date32Array::from(vec![1]))),
        ("b", Arc::new(arrow::array::BooleanArray::from(vec![true]))),
    ];
    for codec in [Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default()), Compression::UNCOMPRESSED] {
        let ingested = bench.parquet(columns.clone(), codec).unwrap();
        let types: Vec<_> = ingested.columns.iter().map(|c| c.data_type.to_string()).collect();
        let expected = ["int64", "float64", "decimal(20,3)", "string", "timestamp", "timestamp", "date", "boolean"];
        assert_eq!(types, expected);
        let batch = bench.read();
        assert_eq!(batch["d"].as_primitive::<Decimal128Type>().value(0), 12_345);
        assert_eq!(batch["w"].as_string::<i32>().value(0), "x");
        assert_eq!(batch["t"].as_primitive::<TimestampMicrosecondType>().value(0), 1);
        assert_eq!(batch["l"].as_primitive::<TimestampMicrosecondType>().timezone(), Some("UTC"));
    }
}

#[test]
fn parquet_of_another_kind_is_refused_by_its_column() {
    let bench = Bench::new();
    let binary: ArrayRef = Arc::new(BinaryArray::from(vec![&b"x"[..]]));
    let error = bench.parquet(vec![("raw", binary)], Compression::SNAPPY).unwrap_err();
    assert!(malformed(&error).1.contains("`raw`"));
    let great: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let error = bench.parquet(vec![("great", great)], Compression::SNAPPY).unwrap_err();
    assert!(malformed(&error).1.contains("`great`"));
}

#[test]
fn codecs_and_encodings_without_a_bound_are_refused() {
    let bench = Bench::new();
    let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let error = bench.parquet(vec![("n", number)], Compression::GZIP(GzipLevel::default())).unwrap_err();
    assert!(malformed(&error).1.contains("codecs"));

    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "ab"]));
    let batch = RecordBatch::try_from_iter([("w", words)]).unwrap();
    let properties =
        WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(malformed(&bench.run(bytes, Format::Parquet).unwrap_err()).1.contains("encoding"));
}

#[test]
fn text_that_the_reader_does_not_check_is_checked() {
    let schema = parse_message_type("message m { required binary w (JSON); }").unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values = [b"{}".to_vec().into(), b"\xff and so on, beyond what a view holds inline".to_vec().into()];
    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let (row, detail) = malformed(&Bench::new().run(bytes, Format::Parquet).unwrap_err());
    assert_eq!((row.as_str(), detail.contains("UTF-8")), ("2", true), "{detail}");
}

#[test]
fn a_small_parquet_that_decodes_to_much_is_refused() {
    let mut bench = Bench::new();
    bench.limits.max_bytes = 8 << 20;
    // One dictionary value, repeated: 60 KB on disk announce little and decode to 600 MB.
    let words: ArrayRef = Arc::new(StringArray::from(vec!["w".repeat(60_000); 10_000]));
    let bytes = parquet(vec![("w", words)], Compression::ZSTD(ZstdLevel::default()));
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    assert_eq!(bench.run(bytes, Format::Parquet).unwrap_err().reason(), Reason::UploadTooLarge);
    let long: ArrayRef = Arc::new(StringArray::from(vec!["w".to_owned(), "w".repeat(65_537)]));
    let error = bench.parquet(vec![("w", long)], Compression::SNAPPY).unwrap_err();
    assert_eq!(malformed(&error).0, "2");
}

#[test]
fn text_that_is_split_keeps_every_row_in_order() {
    let bench = Bench::new();
    let words: ArrayRef = Arc::new((0..5_000).map(|n| Some(format!("{n:0>20000}"))).collect::<StringArray>());
    let ingested = bench.parquet(vec![("w", words)], Compression::ZSTD(ZstdLevel::default())).unwrap();
    assert_eq!(ingested.rows, 5_000);
    let batch = bench.read();
    let words = batch["w"].as_string::<i32>();
    assert!((0..5_000).all(|n| words.value(n).parse::<usize>().unwrap() == n));
}

#[test]
fn damaged_parquet_never_panics_and_never_leaves_half_a_file() {
    let bench = Bench::keyed("p");
    let keys: ArrayRef = Arc::new((0..300).map(|n| Some(format!("k{}", n % 7))).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new((0..300).collect::<Int32Array>());
    let good = parquet(vec![("p", keys), ("n", numbers)], Compression::SNAPPY);
    assert!(bench.run(&good, Format::Parquet).is_ok());
    let mut refused = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        if let Err(error) = bench.run(bad, Format::Parquet) {
            assert_ne!(error.reason(), Reason::Internal, "byte {at}");
            refused += 1;
        }
    }
    // The rest lies in values and statistics, which carry no checksum.
    assert!(refused > 200, "{refused} of {}", good.len());
    for length in [0, 3, 8, good.len() / 2, good.len() - 1] {
        assert!(bench.run(&good[..length], Format::Parquet).is_err());
    }
    assert_eq!(malformed(&bench.run(b"p,x\n1,2\n", Format::Parquet).unwrap_err()).0, "0");
}

#[test]
fn two_hundred_thousand_rows_take_seconds_in_a_debug_build() {
    let bench = Bench::keyed("patient");
    let mut text = String::from("patient,commune,admitted,age,diagnosis,cost\n");
    for n in 0..200_000_u32 {
        let (day, cents) = (n % 28 + 1, n % 100);
        writeln!(text, "p_{:016x},{:05},2025-03-{day:02},{},I21.9,{}.{cents:02}", n % 60_000, n % 95_000, n % 100, n)
            .unwrap();
    }
    let staged = bench.directory.path().join("staged");
    fs::write(&staged, &text).unwrap();
    let instructions = Instructions { subject_key: bench.key.as_ref(), notes: &[], limits: bench.limits };
    let source = Source { path: &staged, format: Format::Csv };
    let started = std::time::Instant::now();
    let mut seen = Vec::new();
    let ingested = ingest(source, &instructions, HashMap::new(), &bench.target(), &mut |rows| seen.push(rows)).unwrap();
    println!("200,000 rows: {:?}, {} bytes of CSV, {} of Parquet", started.elapsed(), text.len(), ingested.bytes);
    assert_eq!((ingested.rows, ingested.subjects), (200_000, Some(60_000)));
    assert!(seen.is_sorted() && seen.last() == Some(&200_000));
    // Generous: the machines that run this are shared.
    assert!(started.elapsed().as_secs() < 60);
}
