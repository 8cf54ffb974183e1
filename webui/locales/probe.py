"""What the Train panel says of a probe: its table, and the package's sentences (`training.probe_words`) by their kind."""

from __future__ import annotations

from .words import alert


ALERTS = {
    "dba_probe_running": alert(
        "Predicting … {seconds} s",
        "Прогноз … {seconds} с",
        "预测中 … {seconds} 秒",
        "예측 중 … {seconds}초",
        "予測中 … {seconds} 秒",
    ),
    "dba_probe_stopped": alert(
        "The prediction was stopped.",
        "Прогноз прерван.",
        "预测已停止。",
        "예측을 중지했습니다.",
        "予測を中止しました。",
    ),
    "dba_probe_busy": alert(
        "A training is running on this board; predict when it has ended.",
        "На этой доске идёт обучение; сделайте прогноз после него.",
        "面板上正在训练，请在结束后预测。",
        "이 보드에서 훈련 중입니다. 끝난 뒤 예측하세요.",
        "このボードで学習中です。終わってから予測してください。",
    ),
    "dba_probe_no_anchor": alert(
        "The variant {variant} reads no anchor, so there is nothing to compare the domain with.",
        "Вариант {variant} не использует якорь, поэтому сравнивать данные домена не с чем.",
        "变体 {variant} 不读取锚点，因此领域数据没有可比较的对象。",
        "{variant} 변형은 앵커를 읽지 않으므로 도메인을 비교할 대상이 없습니다.",
        "{variant} はアンカーを読まないため、ドメインと比べるものがありません。",
    ),
    "dba_probe_other": alert(
        "The variant {variant} uses neither the boost γ nor the correction λ, so they are left out. The signed cosine "
        "says how the domain pulls: below zero it works against the general data, near zero neither way.",
        "Вариант {variant} не использует ни усиление γ, ни коррекцию λ, поэтому их здесь нет. Косинус со знаком "
        "показывает, куда тянет домен: ниже нуля — против общих данных, около нуля — ни туда ни сюда.",
        "变体 {variant} 不使用增强 γ 和校正 λ，因此不列出。带符号余弦表示领域数据的方向：小于零与通用数据相冲突，接近零则"
        "互不影响。",
        "{variant} 변형은 부스트 γ와 보정 λ를 쓰지 않으므로 표시하지 않습니다. 부호 있는 코사인은 도메인의 방향을 말합니다: "
        "0보다 작으면 일반 데이터와 어긋나고, 0에 가까우면 서로 상관이 없습니다.",
        "{variant} はブースト γ も補正 λ も使わないため省いています。符号付きコサインはドメインの向きを示します：ゼロ未満なら"
        "一般データと相反し、ゼロ付近なら無関係です。",
    ),
    "dba_probe_done": alert(
        "Measured on {batches} steps at the base model; the training itself moves away from it.",
        "Измерено на {batches} шагах у исходной модели; само обучение от неё удаляется.",
        "在基座模型上测量 {batches} 步；训练会逐渐偏离它。",
        "기본 모델에서 {batches} 스텝을 측정했습니다. 훈련이 진행되면 달라집니다.",
        "元のモデルで {batches} ステップ測りました。学習が進むと変わります。",
    ),
    "dba_probe_what": alert("what", "что", "项目", "항목", "項目"),
    "dba_probe_value": alert("value", "значение", "值", "값", "値"),
    "dba_probe_similarity": alert("similarity s", "сходство s", "相似度 s", "유사도 s", "類似度 s"),
    "dba_probe_cosine": alert(
        "signed cosine", "косинус со знаком", "带符号余弦", "부호 있는 코사인", "符号付きコサイン"
    ),
    "dba_probe_correction": alert("correction λ", "коррекция λ", "校正 λ", "보정 λ", "補正 λ"),
    "dba_probe_boost": alert(
        "anchor's weight γ at the start",
        "вес якоря γ в начале",
        "起始锚点权重 γ",
        "시작 앵커 가중치 γ",
        "開始時のアンカーの重み γ",
    ),
    "dba_probe_steps": alert(
        "steps × global batch", "шаги × общий батч", "步数 × 全局批量", "스텝 × 전체 배치", "ステップ × 全体バッチ"
    ),
    "dba_probe_rate": alert(
        "learning rate: first → mean, peak",
        "скорость обучения: первая → средняя, максимум",
        "学习率：起始 → 平均，峰值",
        "학습률: 처음 → 평균, 최대",
        "学習率：最初 → 平均、最大",
    ),
    "dba_probe_effective": alert(
        "effective learning rate, times λ",
        "эффективная скорость обучения, с λ",
        "有效学习率（乘以 λ）",
        "유효 학습률(λ 곱함)",
        "実効学習率（λ 倍）",
    ),
    # --- what limits the numbers
    "dba_probe_said_no_dba": alert(
        "The recipe does not set `use_dba: true`: its training would not use this anchor.",
        "В рецепте нет `use_dba: true`: его обучение не использовало бы этот якорь.",
        "配方未设置 `use_dba: true`：其训练不会使用此锚点。",
        "레시피에 `use_dba: true`가 없습니다. 이 훈련은 앵커를 쓰지 않습니다.",
        "レシピに `use_dba: true` がありません。その学習はこのアンカーを使いません。",
    ),
    "dba_probe_said_few": alert(
        "{wanted} batches were asked for; one pass over the data, or the whole training, has {seen}.",
        "Запрошено батчей: {wanted}; в одном проходе по данным или во всём обучении их {seen}.",
        "要求 {wanted} 个批次；数据一遍或整个训练只有 {seen} 个。",
        "배치 {wanted}개를 요청했지만 데이터 한 번 또는 전체 훈련에는 {seen}개뿐입니다.",
        "{wanted} バッチを求めましたが、データ一巡または学習全体では {seen} バッチです。",
    ),
    "dba_probe_said_overflowed": alert(
        "{skipped} steps overflowed in fp16 and are left out, as in a training.",
        "Шагов с переполнением fp16: {skipped}; они пропущены, как и при обучении.",
        "{skipped} 步在 fp16 下溢出并被略去，与训练时相同。",
        "fp16 오버플로가 난 {skipped}스텝은 훈련 때처럼 제외했습니다.",
        "fp16 で桁あふれした {skipped} ステップは、学習時と同じく除いています。",
    ),
    "dba_probe_said_unmatched": alert(
        "The anchor has nothing for {count} of the tensors that are trained: {names}.",
        "В якоре ничего нет для обучаемых тензоров: {count} ({names}).",
        "锚点不含 {count} 个被训练的张量：{names}。",
        "훈련하는 텐서 중 {count}개가 앵커에 없습니다: {names}.",
        "学習するテンソルのうち {count} 個がアンカーにありません：{names}。",
    ),
    "dba_probe_said_no_rates": alert(
        "The learning rates of this scheduler depend on the run, so no effective rate is predicted.",
        "Скорость обучения этого планировщика зависит от хода обучения, поэтому эффективная не предсказана.",
        "此调度器的学习率取决于训练过程，因此不预测有效学习率。",
        "이 스케줄러의 학습률은 훈련 과정에 따라 달라지므로 유효 학습률을 예측하지 않습니다.",
        "このスケジューラの学習率は学習の経過によるため、実効学習率は予測しません。",
    ),
    "dba_probe_said_no_correction": alert(
        "The correction is off (`dba_use_correction: false`): λ is what it would be.",
        "Коррекция выключена (`dba_use_correction: false`): λ показывает, какой она была бы.",
        "校正已关闭（`dba_use_correction: false`）：λ 为假设开启时的值。",
        "보정이 꺼져 있습니다(`dba_use_correction: false`). λ는 켰을 때의 값입니다.",
        "補正はオフです（`dba_use_correction: false`）。λ はオンにした場合の値です。",
    ),
    # --- what the numbers say
    "dba_probe_said_constant": alert(
        "λ hardly varies ({mean} ± {std}, {below} below its bound 1/λ_0 = {bound}): at the base model the correction acts "
        "as a plain learning-rate factor of {mean}.",
        "λ почти не меняется ({mean} ± {std}, на {below} ниже предела 1/λ_0 = {bound}): у исходной модели коррекция "
        "действует как простой множитель {mean} к скорости обучения.",
        "λ 几乎不变（{mean} ± {std}，比上界 1/λ_0 = {bound} 低 {below}）：在基座模型上，校正只相当于把学习率乘以 {mean}。",
        "λ가 거의 변하지 않습니다({mean} ± {std}, 상한 1/λ_0 = {bound}보다 {below} 낮음). 기본 모델에서 보정은 학습률에 "
        "{mean}을(를) 곱하는 것과 같습니다.",
        "λ はほとんど変わりません（{mean} ± {std}、上限 1/λ_0 = {bound} より {below} 低い）：元のモデルでは、補正は学習率を "
        "{mean} 倍するのと同じです。",
    ),
    "dba_probe_said_moving": alert(
        "λ = {mean} holds at the base model only. Where s began this high it fell within the first quarter of the training "
        "in our measurements (docs/probe.md), and λ rose towards its bound: choose a learning rate that is safe {bound} "
        "times over.",
        "λ = {mean} верно только у исходной модели. Там, где s начиналось так высоко, в наших измерениях (docs/probe.md) "
        "оно падало в первой четверти обучения, и λ росла к пределу: выберите скорость обучения, безопасную и в "
        "{bound} раз большей.",
        "λ = {mean} 只在基座模型上成立。在我们的测量（docs/probe.md）中，s 起始这么高时会在训练的前四分之一内下降，λ 随之升向"
        "上界：请选择即使放大 {bound} 倍也安全的学习率。",
        "λ = {mean}은(는) 기본 모델에서만 맞습니다. 우리 측정(docs/probe.md)에서 s가 이렇게 높게 시작하면 훈련의 첫 4분의 1 "
        "안에 떨어지고 λ는 상한으로 올라갔습니다. {bound}배가 되어도 안전한 학습률을 고르세요.",
        "λ = {mean} は元のモデルでだけ成り立ちます。計測（docs/probe.md）では、s がこれほど高く始まると学習の最初の四分の一で"
        "下がり、λ は上限へ上がりました：{bound} 倍になっても安全な学習率を選んでください。",
    ),
    "dba_probe_said_unclear": alert(
        "The mean domain gradient has no clear component along the anchor (signed cosine {cosine} ± {error}).",
        "У среднего градиента домена нет явной составляющей вдоль якоря (косинус со знаком {cosine} ± {error}).",
        "领域平均梯度沿锚点没有明显分量（带符号余弦 {cosine} ± {error}）。",
        "도메인 평균 그래디언트에 앵커 방향의 뚜렷한 성분이 없습니다(부호 있는 코사인 {cosine} ± {error}).",
        "ドメインの平均勾配にアンカー方向の明確な成分はありません（符号付きコサイン {cosine} ± {error}）。",
    ),
    "dba_probe_said_noisy": alert(
        "The anchor is mostly noise, so the sign of the signed cosine {cosine} ± {error} says little about the general "
        "loss.",
        "Якорь — в основном шум, поэтому знак косинуса {cosine} ± {error} мало говорит об общей функции потерь.",
        "锚点大部分是噪声，因此带符号余弦 {cosine} ± {error} 的符号几乎不能说明通用损失。",
        "앵커가 대부분 잡음이므로 부호 있는 코사인 {cosine} ± {error}의 부호는 일반 손실에 대해 거의 말해 주지 않습니다.",
        "アンカーの大半は雑音なので、符号付きコサイン {cosine} ± {error} の符号は一般データの損失についてほとんど語りません。",
    ),
    "dba_probe_said_against": alert(
        "The mean domain gradient points against the anchor (signed cosine {cosine} ± {error}): to first order, a plain "
        "gradient step on the domain raises the general loss.",
        "Средний градиент домена направлен против якоря (косинус со знаком {cosine} ± {error}): в первом порядке простой "
        "градиентный шаг по домену увеличивает общую функцию потерь.",
        "领域平均梯度与锚点方向相反（带符号余弦 {cosine} ± {error}）：一阶近似下，在领域上做普通梯度步会提高通用损失。",
        "도메인 평균 그래디언트가 앵커와 반대 방향입니다(부호 있는 코사인 {cosine} ± {error}). 1차 근사로는 도메인에 대한 "
        "단순 그래디언트 스텝이 일반 손실을 높입니다.",
        "ドメインの平均勾配はアンカーと逆向きです（符号付きコサイン {cosine} ± {error}）：一次近似では、ドメインでの単純な勾配"
        "ステップは一般データの損失を上げます。",
    ),
    "dba_probe_said_along": alert(
        "The mean domain gradient points the anchor's way (signed cosine {cosine} ± {error}): to first order, a plain "
        "gradient step on the domain lowers the general loss, too.",
        "Средний градиент домена направлен вдоль якоря (косинус со знаком {cosine} ± {error}): в первом порядке простой "
        "градиентный шаг по домену уменьшает и общую функцию потерь.",
        "领域平均梯度与锚点同向（带符号余弦 {cosine} ± {error}）：一阶近似下，在领域上做普通梯度步也会降低通用损失。",
        "도메인 평균 그래디언트가 앵커와 같은 방향입니다(부호 있는 코사인 {cosine} ± {error}). 1차 근사로는 도메인에 대한 "
        "단순 그래디언트 스텝이 일반 손실도 낮춥니다.",
        "ドメインの平均勾配はアンカーと同じ向きです（符号付きコサイン {cosine} ± {error}）：一次近似では、ドメインでの単純な"
        "勾配ステップは一般データの損失も下げます。",
    ),
    "dba_probe_said_scattered": alert(
        "The means of two halves of the probed batches have a cosine of {cosine} only: the mean domain gradient is mostly "
        "noise, probe more batches.",
        "Косинус между средними двух половин батчей всего {cosine}: средний градиент домена — в основном шум, возьмите "
        "больше батчей.",
        "所测批次两半的均值余弦仅为 {cosine}：领域平均梯度大部分是噪声，请测量更多批次。",
        "측정한 배치 두 절반의 평균 사이 코사인이 {cosine}뿐입니다. 도메인 평균 그래디언트가 대부분 잡음이니 배치를 "
        "늘리세요.",
        "測ったバッチの前半と後半の平均のコサインは {cosine} しかありません：ドメインの平均勾配の大半は雑音です。バッチを増やして"
        "ください。",
    ),
    "dba_probe_said_large_boost": alert(
        "The boost starts at {initial}; the paper's runs stay below {largest}. In runs this short it cost general skill in "
        "our measurements (docs/real_small.md): lower `dba_boost_magnitude`.",
        "Усиление начинается с {initial}; в статье оно ниже {largest}. В столь коротких обучениях оно в наших измерениях "
        "(docs/real_small.md) стоило общих навыков: уменьшите `dba_boost_magnitude`.",
        "增强从 {initial} 开始；论文中的训练低于 {largest}。在我们的测量（docs/real_small.md）中，这么短的训练会因此损失通用"
        "能力：请降低 `dba_boost_magnitude`。",
        "부스트가 {initial}에서 시작합니다. 논문의 훈련은 {largest}보다 작습니다. 우리 측정(docs/real_small.md)에서 이렇게 짧은 "
        "훈련에서는 일반 능력이 떨어졌습니다. `dba_boost_magnitude`를 낮추세요.",
        "ブーストは {initial} から始まります。論文の学習では {largest} 未満です。計測（docs/real_small.md）では、これほど短い"
        "学習では一般能力が損なわれました：`dba_boost_magnitude` を下げてください。",
    ),
    "dba_probe_said_noisy_anchor": alert(
        "The means of two halves of the general data have a cosine of {cosine} only, so the anchor is mostly noise: the "
        "base model may be at its optimum on that data already. Make it from more or other general data, or set "
        "`dba_boost_magnitude: 0`.",
        "Косинус между средними двух половин общих данных всего {cosine}, так что якорь — в основном шум: исходная модель "
        "может быть уже в оптимуме на этих данных. Постройте его по большему числу данных или по другим либо задайте "
        "`dba_boost_magnitude: 0`.",
        "通用数据两半的均值余弦仅为 {cosine}，锚点大部分是噪声：基座模型可能已处于这些数据的最优点。请用更多或其他通用数据"
        "制作锚点，或设置 `dba_boost_magnitude: 0`。",
        "일반 데이터 두 절반의 평균 사이 코사인이 {cosine}뿐이므로 앵커는 대부분 잡음입니다. 기본 모델이 그 데이터에서 이미 "
        "최적일 수 있습니다. 더 많은 또는 다른 일반 데이터로 만들거나 `dba_boost_magnitude: 0`으로 설정하세요.",
        "一般データの前半と後半の平均のコサインは {cosine} しかなく、アンカーの大半は雑音です：元のモデルはそのデータですでに"
        "最適かもしれません。より多い、または別の一般データで作るか、`dba_boost_magnitude: 0` にしてください。",
    ),
}
